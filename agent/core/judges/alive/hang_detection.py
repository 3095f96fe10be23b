# SPDX-License-Identifier: Apache-2.0
"""Whether a hang of the engine could be seen at all; when it could not, everybody is told why."""

from __future__ import annotations

from dataclasses import replace

from agent.core.judges.turn import Turn
from agent.core.state.service import ServiceState

KIND = "hang-detection"

ASLEEP = "the engine sleeps, as its metrics say (POST /wake_up ends it)"
"""vllm:engine_sleep_state (0.11.2..0.33): a request would wait until somebody wakes the engine."""


def sleeps(s: ServiceState) -> bool:
    """Tell whether somebody has put the engine to sleep."""
    return s.live.counters is not None and s.live.counters.asleep


def while_asleep(turn: Turn, s: ServiceState) -> ServiceState:
    """Note that nobody expects tokens of an engine that sleeps."""
    if not sleeps(s):
        return s
    s = off(turn, s, ASLEEP)
    return replace(s, live=replace(s.live, tokens_at=turn.at))


def off(turn: Turn, s: ServiceState, why: str) -> ServiceState:
    """Note that nothing can be judged now, and why; told when the reason is another."""
    if s.live.unjudged != why:
        turn.tell(s.name, KIND, f"hang detection is off: {why}", on=False)
    return replace(s, live=replace(s.live, unjudged=why))


def on(turn: Turn, s: ServiceState) -> ServiceState:
    """Note that the engine itself answered."""
    if s.live.unjudged:
        turn.tell(s.name, KIND, "hang detection is on: the model answered a request", on=True)
    return replace(s, live=replace(s.live, unjudged=""))
