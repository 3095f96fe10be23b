# SPDX-License-Identifier: Apache-2.0
"""What a start that is under way is about, for how long, and for how long usually."""

from __future__ import annotations

from dataclasses import dataclass

from agent.core.stages.stage import SAID
from agent.core.stages.told import usual
from agent.core.state.phases import Phase
from agent.core.state.service import ServiceState


@dataclass(frozen=True, slots=True)
class StageView:
    """A stage of a start: its name, what vLLM does in it, since when, and how long it takes.

    `usual_seconds` is the median of earlier starts with the same settings; None before the first.
    """

    name: str
    doing: str
    since_seconds: float
    usual_seconds: float | None = None


def stage_of(s: ServiceState, ahead_seconds: float) -> StageView | None:
    """Return the stage of the present start, None while none is under way or its log is silent.

    `ahead_seconds` is what the wall clock is ahead of agent time.
    """
    now = s.live.stages.now
    if s.phase is not Phase.STARTING or now is None:
        return None
    usually = usual(s.learned.start_stage_seconds).get(now)
    return StageView(now.value, SAID[now], s.live.stage_at + ahead_seconds, usually)
