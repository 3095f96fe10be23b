# SPDX-License-Identifier: Apache-2.0
"""How many engines serve, and over how many GPUs each is split, against what was asked.

The engines are counted by the label "engine" of /metrics. The log is no proof of them: an engine
of a dense model is told that it is alone (data_parallel_size=1 in its configuration, 0.11..0.33).
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from typing import Any

from agent.core.command.parallel import Parallel, parallel_of
from agent.core.command.picture import Picture, picture_of
from agent.core.diagnosis.facts import Facts
from agent.core.engine.answers import ApiFacts
from agent.core.settings.service import Settings
from agent.core.verify.check import Check, Statement, Wanted, compare

ITS_OWN_RANK = ("data_parallel_rank", "data_parallel_external_lb")
"""With these a process is one rank of several, and its /metrics tell of itself."""

HYBRID = "data_parallel_hybrid_lb"
"""With it the engines of this host are served by this host's front end."""

SPLITS = ("tensor_parallel_size", "pipeline_parallel_size")


def parallel(
    running: Settings, options_file: Mapping[str, Any] | None, log: Facts, api: ApiFacts
) -> Iterator[Check | None]:
    """Judge each size that was asked for; what nobody asked for is one, and no item."""
    picture = picture_of(running, options_file)
    for name in SPLITS:
        asked, said, proof = picture.whole(name), getattr(log, name), log.evidence_for(name)
        if asked is not None:
            seen = [Statement(int(said), proof)] if said is not None and proof else []
            why = "the log has no engine configuration line"
            yield compare(name, Wanted(asked), seen, operator.eq, why)
    split = parallel_of(picture)
    if split.data > 1:
        wanted = _engines_here(picture, split)
        why = "/metrics does not tell the engines apart"
        note = "" if wanted == split.data else f"of {split.data} in all"
        yield compare(
            "data_parallel_size", Wanted(wanted, note), [*_engines(api)], operator.eq, why
        )


def _engines_here(picture: Picture, split: Parallel) -> int:
    """Return how many engines this service's own front end has."""
    if "VLLM_DP_RANK" in picture.environment or any(map(picture.asks, ITS_OWN_RANK)):
        return 1
    return split.data_local if picture.asks(HYBRID) else split.data


def _engines(api: ApiFacts) -> Iterator[Statement[int]]:
    if api.engines:
        labels = ", ".join(api.engines[:16]) + (", ..." if len(api.engines) > 16 else "")
        yield Statement(len(api.engines), f"/metrics has engines {labels}")
