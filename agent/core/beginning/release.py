# SPDX-License-Identifier: Apache-2.0
"""Which release of vLLM from PyPI runs on a driver and a card.

PyPI's wheels of vLLM 0.20 and later are built for CUDA 13, which asks for driver 580 and has no
kernels for cards below 7.5 (CUDA 13.0 release notes: Maxwell, Pascal and Volta are gone); those of
0.14 to 0.19 are built for CUDA 12.8 (driver 570, cards from 7.0).
"""

from __future__ import annotations

import re

from agent.core.engine.defaults import NEWEST
from agent.core.planner.asked.capability import capability_of
from agent.core.record import dataclass


@dataclass(frozen=True, slots=True)
class Release:
    """Wheels that one driver branch runs: `requirement` is what pip is given."""

    requirement: str
    driver: int
    capability: tuple[int, int]
    cuda: str


RELEASES = (
    Release(f"vllm=={NEWEST[0]}.{NEWEST[1]}.*", 580, (7, 5), "13"),
    Release("vllm==0.19.*", 570, (7, 0), "12.8"),
)
"""The newest first."""


def release_for(driver: str, capability: str | None) -> Release | str:
    """Return the newest release that runs on both, or why none does and what would.

    `driver` is a version as "580.82.07", `capability` a card's as "8.9", None where not known.
    """
    branch = re.match(r"\d+", driver)
    if branch is None:
        return "the driver's version is not known: name an environment of your own with --python"
    card = capability_of(capability)
    for release in RELEASES:
        if int(branch[0]) >= release.driver and (card is None or card >= release.capability):
            return release
    last = RELEASES[-1]
    if card is not None and card < last.capability:
        least = ".".join(map(str, last.capability))
        return (
            f"cards of compute capability {capability} are too old: vLLM's wheels ask for {least}"
        )
    return (
        f"driver {driver} is too old: vLLM's wheels ask for {last.driver} ({last.requirement}) or "
        f"{RELEASES[0].driver} ({RELEASES[0].requirement})"
    )
