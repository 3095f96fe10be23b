# SPDX-License-Identifier: Apache-2.0
"""Whether a service's cards let it run: it is held while one ails or is too hot, and comes back.

A service that still answers keeps its card until it fails by itself, unless its answers may be
wrong or nothing is left to answer with.
"""

from __future__ import annotations

from collections.abc import Iterator

from agent.core.command.parallel import parallel_of
from agent.core.command.picture import picture_of
from agent.core.failures.classes import Group
from agent.core.failures.meaning import group_of
from agent.core.judges.cards import ailments
from agent.core.judges.cards.sentences import named
from agent.core.judges.turn import Turn
from agent.core.settings.gpus import ThermalAction
from agent.core.state.card import Card, HeatLevel
from agent.core.state.held import Held, HeldBy
from agent.core.state.phases import RUNS, Phase
from agent.core.state.service import ServiceState

WELL_AGAIN = "the GPUs are well again"


def cards_of(turn: Turn, s: ServiceState) -> Iterator[Card]:
    """Yield the cards that the service is on by its processes, else by its settings.

    Of "all" vLLM takes as many as its parallelism needs, from the first on.
    """
    if s.name not in turn.policy.services:
        return
    settings = turn.policy_of(s).settings
    seen = _seen_on(turn, s) if s.phase in RUNS else frozenset()
    named = {*settings.gpus}
    gpus = parallel_of(picture_of(settings)).gpus
    for card in turn.cards.values():
        by_settings = bool(named & {card.uuid, str(card.index)}) or (
            "all" in named and card.index < gpus
        )
        held_for = s.held is not None and s.held.card == card.uuid
        if held_for or (card.uuid in seen if seen else by_settings):
            yield card


def _seen_on(turn: Turn, s: ServiceState) -> frozenset[str]:
    """Return the UUIDs of the cards that had processes of the service at the last look."""
    gpus = turn.gpus.gpus if turn.gpus is not None else ()
    units = (s.running or turn.policy_of(s).settings).units
    return frozenset(
        gpu.uuid
        for gpu in gpus
        if gpu.processes and any(process.unit in units for process in gpu.processes)
    )


def unfit(turn: Turn, s: ServiceState) -> Held | None:
    """Return what keeps the service off its cards, None when nothing does."""
    if all(map(_is_well, turn.cards.values())):
        return None
    for card in cards_of(turn, s):
        ailment = card.ailment
        if ailment is not None:
            why = f"{ailment.failure.value}: {named(card)}: {ailment.why}"
            at_once = ailment.failure in ailments.AT_ONCE
            return _held(card, why, ailment.what_to_do, at_once=at_once)
        if _too_hot(turn, s, card):
            why = f"{named(card)} is too hot; it is started again by itself once that is over"
            do = "Look at the fans, filters and the room's air."
            return _held(card, why, do, at_once=True)
    return None


def _held(card: Card, why: str, do: str, *, at_once: bool) -> Held:
    return Held(HeldBy.CARD, why, do, until=WELL_AGAIN, card=card.uuid, at_once=at_once)


def _is_well(card: Card) -> bool:
    return card.ailment is None and card.heat.level is HeatLevel.NORMAL


def _too_hot(turn: Turn, s: ServiceState, card: Card) -> bool:
    if turn.policy.thermal.action is not ThermalAction.DRAIN:
        return False
    level = card.heat.level
    return level is HeatLevel.CRITICAL or (_held_for_a_card(s) and level is not HeatLevel.NORMAL)


def keeps_off(turn: Turn, s: ServiceState) -> Held | None:
    """Return why the service may not run on its cards, None when it may.

    A service that is held for another reason stays so, unless its card explains its failure.
    """
    if s.phase is Phase.HELD and not (_held_for_a_card(s) or _failed_by_hardware(s)):
        return None
    return unfit(turn, s)


def _held_for_a_card(s: ServiceState) -> bool:
    return s.held is not None and s.held.by is HeldBy.CARD


def _failed_by_hardware(s: ServiceState) -> bool:
    return s.failure is not None and group_of(s.failure.failure) is Group.HARDWARE


def forgive(turn: Turn, s: ServiceState) -> None:
    """Take the cards of a service for well that was started by hand."""
    for card in tuple(cards_of(turn, s)):
        turn.put_card(ailments.forgiven(turn, card, f"{s.name}.service was started by hand"))
