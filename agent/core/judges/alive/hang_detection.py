# SPDX-License-Identifier: Apache-2.0
"""Whether a hang of the engine could be seen at all; when it could not, everybody is told why."""

from __future__ import annotations

from dataclasses import replace

from agent.core.judges.turn import Turn
from agent.core.state.service import ServiceState

KIND = "hang-detection"


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
