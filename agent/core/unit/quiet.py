# SPDX-License-Identifier: Apache-2.0
"""What a start tells strangers or asks them and a service does not need: off unless asked for.

vLLM's usage report asks `VLLM_NO_USAGE_STATS`, `VLLM_DO_NOT_TRACK` and `DO_NOT_TRACK`
(vllm/usage/usage_lib.py, 0.32.0); huggingface_hub `HF_HUB_DISABLE_TELEMETRY`, `DISABLE_TELEMETRY`
and `DO_NOT_TRACK` (constants.py, 2.4.0); Ray `RAY_USAGE_STATS_ENABLED` ("Usage Stats Collection"
in its documentation, since 1.13).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agent.core.record import dataclass
from agent.core.settings.service import Settings


@dataclass(frozen=True, slots=True)
class Quiet:
    """Something that is off: `variables` turn it off, `what` says so in the unit.

    `asked_by` are the variables by which an operator decides about it, whatever their values are:
    then all of it is left to them.
    """

    what: str
    variables: Mapping[str, str]
    asked_by: frozenset[str]


_EVERYBODY = frozenset({"DO_NOT_TRACK"})

QUIET = (
    Quiet(
        "vLLM's usage reports are off",
        {"VLLM_NO_USAGE_STATS": "1"},
        _EVERYBODY
        | {"VLLM_NO_USAGE_STATS", "VLLM_DO_NOT_TRACK"}
        | {"VLLM_USAGE_STATS_SERVER", "VLLM_USAGE_SOURCE"},
    ),
    Quiet(
        "Reports of huggingface_hub are off",
        {"HF_HUB_DISABLE_TELEMETRY": "1"},
        _EVERYBODY | {"HF_HUB_DISABLE_TELEMETRY", "DISABLE_TELEMETRY"},
    ),
    Quiet(
        "Ray's usage reports are off",
        {"RAY_USAGE_STATS_ENABLED": "0"},
        _EVERYBODY | {"RAY_USAGE_STATS_ENABLED", "RAY_USAGE_STATS_REPORT_URL"},
    ),
)
"""DO_NOT_TRACK alone would do for all three, but then nobody could turn one of them on again."""

OFFLINE = "HF_HUB_OFFLINE"
OFFLINE_SAID = "The hub is not asked: all that a start needs is in the cache"


def quiet(settings: Settings) -> Iterator[Quiet]:
    """Give what is off for this service: all that its own environment says nothing about."""
    asked = settings.environment.keys()
    return (one for one in QUIET if one.asked_by.isdisjoint(asked))


def quiet_environment(settings: Settings) -> dict[str, str]:
    """Return the variables that turn it off."""
    return {name: value for one in quiet(settings) for name, value in one.variables.items()}


def quiet_said(settings: Settings, *, needs_no_hub: bool) -> Iterator[str]:
    """Give one sentence for each thing that is off, with what turns it on again."""
    for one in quiet(settings):
        (name,) = one.variables
        yield f"{one.what} ({name}); set {name} in `environment` to decide it yourself."
    if needs_no_hub and OFFLINE not in settings.environment:
        yield f'{OFFLINE_SAID} ({OFFLINE}); set {OFFLINE} = "0" in `environment` to have it asked.'
