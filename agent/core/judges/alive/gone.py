# SPDX-License-Identifier: Apache-2.0
"""A run whose engine is gone: nothing will be served any more, and what is left is in the way.

vLLM's front end needs seconds to end after its engine has died: 4 to 5 s with 0.32, in which it
waits for processes that are gone and frees what the kernel frees anyway (RUN 0.32, kill -9 of the
engine). What is left is killed instead, once the last words had time to be written; systemd then
shows the same end as without it, and the log is judged as ever.
"""

from __future__ import annotations

from dataclasses import replace

from agent.core.command.picture import picture_of
from agent.core.judges.turn import Turn
from agent.core.settings.service import Settings
from agent.core.state.actions import EndRun
from agent.core.state.phases import RUNS
from agent.core.state.service import ServiceState

LAST_WORDS_SECONDS = 1.0
"""The engine's own last lines come before those that tell of its end; the workers' may not."""


def on_log(turn: Turn, s: ServiceState) -> ServiceState:
    """Take note of when the log said that the engine is gone."""
    facts = s.live.facts
    if facts is None or not facts.engine_gone or s.live.gone_at:
        return s
    return replace(s, live=replace(s.live, gone_at=turn.at))


def on_tick(turn: Turn, s: ServiceState) -> ServiceState:
    """End what is left of the run, once."""
    live = s.live
    if not live.gone_at or live.ended or turn.at - live.gone_at < LAST_WORDS_SECONDS:
        return s
    unit, running = live.unit, s.running
    if s.phase not in RUNS or unit is None or not unit.running or running is None:
        return s
    # A container's program must end its container itself, and vLLM may mend what it lost.
    if running.engine.in_container or turn.pause_of(s) is not None or _may_mend_itself(running):
        return s
    turn.do(EndRun(s.name, s.invocation_id))
    turn.tell(s.name, "ended", "its engine is gone: what is left of the run is killed")
    return replace(s, live=replace(live, ended=True))


def _may_mend_itself(running: Settings) -> bool:
    """Tell whether the front end may go on without an engine (fault tolerance, elastic EP)."""
    picture = picture_of(running)
    return any(picture.switch(name) for name in ("enable_fault_tolerance", "enable_elastic_ep"))
