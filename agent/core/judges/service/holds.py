# SPDX-License-Identifier: Apache-2.0
"""What may keep a service from running, each as a function of what is known now.

A hold returns why the service may not run, or None when it may. It is asked again at each
observation: what waits is held, what is held goes on by itself as soon as the reason is gone, and
what runs is stopped where the reason says so. The next reason to hold is a function in HOLDS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from agent.core.judges.cards import fitness
from agent.core.judges.driver import mismatch as driver
from agent.core.judges.start import planning
from agent.core.judges.turn import Turn
from agent.core.state.held import Held, HeldBy
from agent.core.state.phases import RUNS, Phase, Then
from agent.core.state.service import ServiceState

HOLDS: tuple[tuple[HeldBy, Callable[[Turn, ServiceState], Held | None]], ...] = (
    (HeldBy.CARD, fitness.keeps_off),
    (HeldBy.DRIVER, driver.keeps_off),
    (HeldBy.PLAN, planning.keeps_off),
)


def hold_and_free(turn: Turn) -> None:
    """Hold each service that may not run, and let those go that may again."""
    for by, hold in HOLDS:
        for s in tuple(turn.services.values()):
            if s.name not in turn.policy.services or s.foreign:
                continue
            if turn.pause_of(s) is not None:
                turn.put(_only_told(turn, s, by, hold(turn, s)))
            else:
                s = _started_by_hand(turn, s)
                turn.put(_judge(turn, s, by, hold(turn, s)))


def _only_told(turn: Turn, s: ServiceState, by: HeldBy, held: Held | None) -> ServiceState:
    """Leave a paused service as it is: held or not is judged again when the pause is over."""
    if held is None or not held.at_once or s.phase not in RUNS:
        return s
    return turn.leave_alone(s, by.value, held.why)


def _started_by_hand(turn: Turn, s: ServiceState) -> ServiceState:
    """Obey the operator who starts what was held: it is held no more."""
    if s.held is None or s.phase not in RUNS:
        return s
    if s.held.by is HeldBy.CARD:
        fitness.forgive(turn, s)
    return replace(s, held=None)


def _judge(turn: Turn, s: ServiceState, by: HeldBy, held: Held | None) -> ServiceState:
    match s.phase:
        case Phase.WAITING if held is not None and s.asked is None:
            return turn.hold(s, held)
        case Phase.STARTING | Phase.VERIFYING | Phase.SERVING if held is not None:
            return _stop(turn, s, held) if held.at_once and s.asked is None else s
        case Phase.HELD if held is not None:
            return replace(s, held=held)
        case Phase.HELD if s.held is not None and s.held.by is by:
            s = turn.enter(s, Phase.WAITING, "start", f"start: {s.held.until or 'it may again'}")
            return replace(s, held=None, retry_at=turn.at)
        case _:
            return s


def _stop(turn: Turn, s: ServiceState, held: Held) -> ServiceState:
    why = f"held: {held.why}"
    s = turn.stop(s, why, then=Then.HOLD)
    return replace(turn.enter(s, Phase.STOPPING, "drain", why), held=held)
