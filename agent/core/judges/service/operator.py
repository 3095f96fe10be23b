# SPDX-License-Identifier: Apache-2.0
"""What an operator does to a unit with systemctl: stops it, unlinks it, masks it, takes it over."""

from __future__ import annotations

from dataclasses import replace

from agent.core.judges.turn import Turn
from agent.core.state.held import Held, HeldBy
from agent.core.state.phases import RUNS, Phase
from agent.core.state.service import ServiceState
from agent.core.state.unit import UnitFacts

LINK_AGAIN_SECONDS = 5.0
"""A link that is not there this long after it was put back was removed again."""


def put_the_link_back(turn: Turn, s: ServiceState) -> ServiceState:
    """Link the unit again: `systemctl disable` removes what systemd needs to restart a service."""
    may = s.phase in RUNS and s.asked is None and turn.pause_of(s) is None
    if not may or turn.at - s.live.linked_at < LINK_AGAIN_SECONDS:
        return s
    turn.write_unit(s)
    if not s.live.linked_at:
        why = f"the link of {s.name}.service was removed (systemctl disable?): it is put back"
        turn.tell(s.name, "linked", why)
    return replace(s, live=replace(s.live, linked_at=turn.at))


def on_foreign(turn: Turn, s: ServiceState, unit: UnitFacts) -> ServiceState:
    """Keep away from a unit that somebody else wrote, whatever its processes do."""
    if not unit.foreign:
        return _given_back(turn, replace(s, foreign="", held=None, asked=None), unit)
    why = f"{unit.foreign} is not llmagent's, so it is left alone"
    do = (
        "Give the service another name in agent.toml, or move the file away when it suits you: "
        f"after `systemctl daemon-reload` llmagent stops what was started from it and "
        f"starts its own. If `systemctl edit --full` made it: `systemctl edit {s.name}` is for "
        "lines of yours, which are kept."
    )
    if unit.load_state == "masked":
        why = f"{s.name}.service is masked, so it is left alone"
        do = (
            f"systemctl unmask {s.name}; llmagent goes on with what runs then, or starts it. Until "
            "then nothing brings it back."
        )
    # That a file is a mask is known to systemd only some moments after it is there.
    told = s.held.why if s.held is not None and s.held.by is HeldBy.FOREIGN else ""
    if unit.foreign == s.foreign and told in ("", why):
        return s
    was_stopped = s.was_stopped or s.phase is Phase.STOPPED
    s = turn.hold(s, Held(HeldBy.FOREIGN, why, do))
    return replace(s, foreign=unit.foreign, was_stopped=was_stopped)


def _given_back(turn: Turn, s: ServiceState, unit: UnitFacts) -> ServiceState:
    """Go on where the foreign unit came in between: what the operator had stopped stays so."""
    free = f"the name {s.name}.service is free now"
    if s.was_stopped and not unit.running:
        return stopped_by_operator(turn, replace(s, was_stopped=False), f"{free}; ")
    if unit.running:
        # What runs is not ours: told as what it is, before our own start takes its place.
        turn.tell(
            s.name, "stop", f"{free}: process {unit.main_pid}, started without llmagent, ends"
        )
        # Until it has ended it is not taken for the run that is asked for now.
        s = replace(s, invocation_id=unit.invocation_id)
    s = turn.enter(s, Phase.WAITING, "start", f"start: {free}")
    return replace(s, was_stopped=False, retry_at=max(s.retry_at, turn.at))


def stopped_by_operator(turn: Turn, s: ServiceState, before: str = "") -> ServiceState:
    """Respect a stop that the agent did not ask for, until the operator starts the unit."""
    why = f"{before}stopped by the operator; `systemctl start {s.name}` brings it back"
    s = turn.enter(s, Phase.STOPPED, "stopped", why)
    return replace(s, asked=None, died=None, last_down_at=turn.at)
