# SPDX-License-Identifier: Apache-2.0
"""Whether a service's cards let it run: it is held while one ails or is too hot, and comes back.

A service that still answers keeps its card until it fails by itself, unless its answers may be
wrong or nothing is left to answer with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from agent.core.failures.classes import FailureClass, Group
from agent.core.failures.meaning import group_of
from agent.core.judges.cards import ailments
from agent.core.judges.cards.sentences import named
from agent.core.judges.turn import Turn
from agent.core.settings.gpus import ThermalAction
from agent.core.state.card import Card, HeatLevel
from agent.core.state.phases import RUNS, Phase, Then
from agent.core.state.service import ServiceState

AT_ONCE = frozenset(
    {FailureClass.GPU_LOST, FailureClass.XID_79, FailureClass.XID_167, FailureClass.XID_54}
    | {FailureClass.XID_48, FailureClass.XID_95, FailureClass.XID_140}
)
"""Gone cards, and memory errors that are not contained: what such a card computes may be wrong."""


@dataclass(frozen=True, slots=True)
class Unfit:
    """Why a service cannot use its card, what to do, and whether even a running one must stop."""

    uuid: str
    why: str
    what_to_do: str
    at_once: bool


def cards_of(turn: Turn, s: ServiceState) -> Iterator[Card]:
    """Yield the cards that the service is on by its processes, else by its settings.

    Of "all" vLLM takes as many as its parallelism needs, from the first on.
    """
    if s.name not in turn.policy.services:
        return
    settings = turn.policy_of(s).settings
    seen = _seen_on(turn, s) if s.phase in RUNS else frozenset()
    named = {*settings.gpus}
    for card in turn.cards.values():
        by_settings = bool(named & {card.uuid, str(card.index)}) or (
            "all" in named and card.index < settings.parallel_size
        )
        held_for = s.held_for_card == card.uuid
        if held_for or (card.uuid in seen if seen else by_settings):
            yield card


def _seen_on(turn: Turn, s: ServiceState) -> frozenset[str]:
    """Return the UUIDs of the cards that had processes of the service at the last look."""
    gpus = turn.gpus.gpus if turn.gpus is not None else ()
    unit = f"{s.name}.service"
    return frozenset(
        gpu.uuid
        for gpu in gpus
        if gpu.processes and any(process.unit == unit for process in gpu.processes)
    )


def unfit(turn: Turn, s: ServiceState) -> Unfit | None:
    """Return what keeps the service off its cards, None when nothing does."""
    if all(map(_is_well, turn.cards.values())):
        return None
    for card in cards_of(turn, s):
        ailment = card.ailment
        if ailment is not None:
            why = f"{ailment.failure.value}: {named(card)}: {ailment.why}"
            return Unfit(card.uuid, why, ailment.what_to_do, ailment.failure in AT_ONCE)
        if _too_hot(turn, s, card):
            why = f"{named(card)} is too hot; it is started again by itself once that is over"
            do = "Look at the fans, filters and the room's air."
            return Unfit(card.uuid, why, do, at_once=True)
    return None


def _is_well(card: Card) -> bool:
    return card.ailment is None and card.heat.level is HeatLevel.NORMAL


def _too_hot(turn: Turn, s: ServiceState, card: Card) -> bool:
    if turn.policy.thermal.action is not ThermalAction.DRAIN:
        return False
    level = card.heat.level
    return level is HeatLevel.CRITICAL or (bool(s.held_for_card) and level is not HeatLevel.NORMAL)


def hold_and_free(turn: Turn) -> None:
    """Hold each service whose cards do not let it run; start those again whose cards do."""
    for s in tuple(turn.services.values()):
        if s.name in turn.policy.services and not s.foreign:
            turn.put(_judge(turn, s))


def _judge(turn: Turn, s: ServiceState) -> ServiceState:
    if s.held_for_card and s.phase in RUNS:
        s = _started_by_hand(turn, s)
    reason = unfit(turn, s)
    match s.phase:
        case Phase.WAITING if reason is not None and s.asked is None:
            return _hold(turn, s, reason)
        case Phase.STARTING | Phase.VERIFYING | Phase.SERVING if reason is not None:
            return _stop(turn, s, reason) if reason.at_once and s.asked is None else s
        case Phase.HELD if reason is not None and _by_hardware(s):
            return replace(s, held_for_card=reason.uuid, what_to_do=reason.what_to_do)
        case Phase.HELD if reason is None and s.held_for_card:
            why = "start: the GPUs are well again"
            s = turn.enter(s, Phase.WAITING, "start", why)
            return replace(s, held_for_card="", what_to_do="", retry_at=turn.at)
        case _:
            return s


def _by_hardware(s: ServiceState) -> bool:
    return s.failure is not None and group_of(s.failure.failure) is Group.HARDWARE


def _started_by_hand(turn: Turn, s: ServiceState) -> ServiceState:
    for card in tuple(cards_of(turn, s)):
        turn.put_card(ailments.forgiven(turn, card, f"{s.name}.service was started by hand"))
    return replace(s, held_for_card="")


def _hold(turn: Turn, s: ServiceState, reason: Unfit) -> ServiceState:
    why = f"held: {reason.why}"
    turn.tell(s.name, "held", f"{why}. To do: {reason.what_to_do}", phase=Phase.HELD.value)
    s = s.enter(Phase.HELD, turn.at, why)
    return replace(s, held_for_card=reason.uuid, what_to_do=reason.what_to_do)


def _stop(turn: Turn, s: ServiceState, reason: Unfit) -> ServiceState:
    why = f"held: {reason.why}"
    s = turn.stop(s, why, then=Then.HOLD)
    s = turn.enter(s, Phase.STOPPING, "drain", why)
    return replace(s, held_for_card=reason.uuid, what_to_do=reason.what_to_do)
