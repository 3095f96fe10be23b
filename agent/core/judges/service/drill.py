# SPDX-License-Identifier: Apache-2.0
"""A drill: an operator sees what comes of a fault, in the history, on the screens, by message.

Nothing is wrong in it. A hot card and a refused agent.toml are only said; the engine's process is
killed for real, by who asked, and what follows is what follows any death.
"""

from __future__ import annotations

from agent.core.judges.turn import Turn
from agent.core.state.phases import Phase
from agent.core.state.service import ServiceState
from agent.core.state.steering.requests import (
    AskDrill,
    Fault,
)

NOTHING = "This is a drill: nothing is wrong, and there is nothing to do."


def why_not(turn: Turn, s: ServiceState, fault: Fault) -> str:
    """Return why the drill would show nothing or do harm, "" where it may be."""
    if fault is Fault.KILL and (s.phase is not Phase.SERVING or s.asked is not None):
        return f"{s.name} is {s.phase.value}: only what serves can be brought back"
    if fault is Fault.HOT and not turn.cards:
        return "no GPU is known on this host"
    return ""


def begin(turn: Turn, s: ServiceState, request: AskDrill, by: str) -> str:
    """Tell of the drill; returns the answer to who asked for it."""
    match request.fault:
        case Fault.KILL:
            turn.tell(
                s.name, "drill", f"drill: the engine of {s.name} is killed by {by}", kill=True
            )
            return f"{s.name} may be killed now"
        case Fault.HOT:
            card = min(turn.cards.values(), key=lambda known: known.index)
            what = f"drill: {card.label} is pretended to be critically hot, asked for by {by}"
        case Fault.REFUSE:
            what = f"drill: agent.toml is pretended to be refused, asked for by {by}"
    turn.tell(s.name, "drill", f"{what}. To do: {NOTHING}", kill=False)
    return what
