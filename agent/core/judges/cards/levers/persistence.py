# SPDX-License-Identifier: Apache-2.0
"""Persistence mode: on when asked, otherwise left as it is, and said where it matters.

Without it the driver lets go of a card once its last program ends, and limits and locks with it.
"""

from __future__ import annotations

from agent.core.changed import changed
from agent.core.gpu.reading import Gpu
from agent.core.judges.cards.levers import lever
from agent.core.judges.cards.levers.lever import Stage
from agent.core.judges.cards.sentences import named, tell
from agent.core.judges.turn import Turn
from agent.core.state.actions import SetPersistenceMode
from agent.core.state.card import Attempt, Card, LeverState, Persistence
from agent.core.state.observations import GpuActionDone, GpuOutcome

PATIENCE_SECONDS = 120.0
"""Persistence mode is read every 30 s; a reading that contradicts counts only after four."""

QUIET_SECONDS = 120.0
"""nvidia-persistenced may come later than the agent; before that, off means nothing."""


def on_gpu(turn: Turn, card: Card, gpu: Gpu) -> Card:
    """Judge a reading of the card."""
    mode = card.persistence
    if gpu.persistence_mode is None:
        return card
    if gpu.persistence_mode:
        state = LeverState.IN_FORCE if turn.policy.power.persistence_mode else LeverState.OFF
        return changed(card, persistence=Persistence(state))
    if not turn.policy.power.persistence_mode:
        return _say(turn, card, gpu)
    match lever.stage(turn, mode, reached=False, patience=PATIENCE_SECONDS):
        case Stage.LOST | Stage.NOT_TAKEN:
            return _not_taken(turn, card, "nvidia-smi set it, but NVML reads off")
        case Stage.DUE:
            return _set(turn, card)
        case _:
            return card


def _set(turn: Turn, card: Card) -> Card:
    mode, action_id = card.persistence, turn.take_id()
    turn.do(SetPersistenceMode(card.uuid, action_id))
    attempt = lever.begin(turn, mode.attempt, action_id, "")
    return changed(card, persistence=changed(mode, attempt=attempt))


def _say(turn: Turn, card: Card, gpu: Gpu) -> Card:
    limits = turn.policy.power.limits_of(card.uuid, gpu.index, gpu.name)
    early = turn.at - turn.started_at < QUIET_SECONDS
    if card.persistence.off_told or early or not limits.anything:
        return card
    why = "persistence mode is off: what [power] sets is lost when the card's last program ends"
    do = "`persistence_mode = true` in [power] turns it on"
    tell(turn, card, "power", f"{named(card)}: {why}; {do}")
    return changed(card, persistence=changed(card.persistence, off_told=True))


def on_done(turn: Turn, card: Card, done: GpuActionDone) -> Card:
    """Take note of how nvidia-smi ended."""
    mode = card.persistence
    match done.outcome:
        case GpuOutcome.DONE:
            attempt = lever.record_success(turn, mode.attempt)
            return changed(card, persistence=changed(mode, attempt=attempt))
        case GpuOutcome.FAILED:
            return _not_taken(turn, card, done.detail)
        case outcome:
            why, said = lever.TELLING[outcome], "persistence mode stays off"
            return changed(card, persistence=lever.refused(turn, card, mode, why, said))


def _not_taken(turn: Turn, card: Card, why: str) -> Card:
    said = f"persistence mode stays off: {why}"
    mode = lever.not_taken(turn, card, card.persistence, why, said)
    return changed(card, persistence=mode)


def setting(card: Card) -> Persistence:
    """Return how far persistence mode has come."""
    return card.persistence


def begin_anew(card: Card) -> Card:
    """Return the card with nothing under way."""
    return changed(card, persistence=changed(card.persistence, attempt=Attempt()))


def again(card: Card) -> Card:
    """Return the card with what was given up before due for another try."""
    if card.persistence.state in (LeverState.BLOCKED, LeverState.DEGRADED):
        return changed(card, persistence=Persistence(attempt=Attempt()))
    return card
