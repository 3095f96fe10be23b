# SPDX-License-Identifier: Apache-2.0
"""A run becomes the service's own: one that was asked for, or that somebody else has started."""

from __future__ import annotations

from dataclasses import replace

from agent.core.judges.start import fetching
from agent.core.judges.turn import Turn
from agent.core.state.actions import FollowLog
from agent.core.state.phases import RUNS, Phase
from agent.core.state.service import Live, ServiceState
from agent.core.state.unit import UnitFacts


def follow(turn: Turn, s: ServiceState, unit: UnitFacts, *, is_older: bool = False) -> ServiceState:
    """Return the service with this run as its own; `is_older`: it began some time before now."""
    return replace(
        s,
        invocation_id=unit.invocation_id,
        asked=None,
        died=None,
        started_at=turn.at,
        start_seconds=None,
        settled=False,
        restart_wanted="",
        live=Live(unit=unit, activity_at=turn.at, tokens_at=turn.at, is_older=is_older),
    )


def adopt(turn: Turn, s: ServiceState, unit: UnitFacts) -> ServiceState:
    """Take over a run that the agent did not ask for."""
    is_older = s.phase is Phase.WAITING
    if s.phase in RUNS or s.phase is Phase.EXAMINING:
        who = "was started again by systemd or by hand" if s.invocation_id else "is running"
    elif is_older:
        who = "is already running: adopted as it is"
    else:
        who = "was started by hand"
    if s.phase is Phase.FETCHING:
        s = fetching.stop_fetch(turn, s)
    if s.group is not None:
        from agent.core.judges.group import together  # for who has a group: memory

        s = together.on_adopted(turn, s)
    running = s.running if s.phase in RUNS and s.running else turn.effective(s)
    why = f"{s.name}.service {who} (process {unit.main_pid})"
    if s.phase is not Phase.STARTING:
        s = turn.enter(s, Phase.STARTING, "adopted", why)
    else:
        turn.tell(s.name, "adopted", why)
    turn.do(FollowLog(s.name, unit.invocation_id))
    return follow(turn, replace(s, running=running), unit, is_older=is_older)


def is_our_run(turn: Turn, s: ServiceState, unit: UnitFacts) -> bool:
    """Tell whether what runs was started by the agent, with the settings that are asked for now."""
    known = unit.invocation_id != "" and unit.invocation_id == s.invocation_id
    return known and unit.running and s.running == turn.effective(s)


def take_back(turn: Turn, s: ServiceState, unit: UnitFacts) -> ServiceState:
    """Go on with a run that never ended, now that its unit is llmagent's again."""
    s = replace(s, foreign="", was_stopped=False, held=None, outage=None)
    if unit.gone:
        turn.write_unit(s)
    why = (
        f"{s.name}.service is llmagent's again: process {unit.main_pid}, which ran all the "
        "while, goes on"
    )
    s = turn.enter(s, Phase.STARTING, "adopted", why)
    turn.do(FollowLog(s.name, unit.invocation_id))
    return follow(turn, s, unit, is_older=True)
