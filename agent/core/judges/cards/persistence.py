# SPDX-License-Identifier: Apache-2.0
"""Persistence mode: on when asked, otherwise left as it is, and said where it matters.

Without it the driver lets go of a card once its last program ends, and limits and locks with it.
"""

from __future__ import annotations

from dataclasses import replace

from agent.core.gpu.reading import Gpu
from agent.core.judges.cards import lever
from agent.core.judges.cards.sentences import named, tell
from agent.core.judges.turn import Turn
from agent.core.state.actions import SetPersistenceMode
from agent.core.state.card import Attempt, Card, LeverState, Persistence
from agent.core.state.observations import GpuActionDone, GpuOutcome

QUIET_SECONDS = 120.0
"""nvidia-persistenced may come later than the agent; before that, off means nothing."""


def on_gpu(turn: Turn, card: Card, gpu: Gpu) -> Card:
    """Judge a reading of the card."""
    mode, attempt = card.persistence, card.persistence.attempt
    if gpu.persistence_mode is None:
        return card
    if gpu.persistence_mode:
        state = LeverState.IN_FORCE if turn.policy.power.persistence_mode else LeverState.OFF
        return replace(card, persistence=Persistence(state))
    if not turn.policy.power.persistence_mode:
        return _say(turn, card, gpu)
    if attempt.action_id and not lever.lost(turn, attempt):
        return card
    if mode.state is LeverState.BLOCKED or turn.at < attempt.retry_at:
        return card
    if attempt.action_id or (attempt.set_at and turn.at > attempt.set_at + 4 * _READ_SECONDS):
        return _not_taken(turn, card, "nvidia-smi set it, but NVML reads off")
    if attempt.set_at:
        return card
    action_id = turn.take_id()
    turn.do(SetPersistenceMode(card.uuid, action_id))
    begun = lever.begun(turn, attempt, action_id, "")
    return replace(card, persistence=replace(mode, attempt=begun))


_READ_SECONDS = 30.0
"""Persistence mode is read at least this often."""


def _say(turn: Turn, card: Card, gpu: Gpu) -> Card:
    limits = turn.policy.power.limits_of(card.uuid, gpu.index, gpu.name)
    early = turn.at - turn.started_at < QUIET_SECONDS
    if card.persistence.off_told or early or not limits.anything:
        return card
    why = "persistence mode is off: what [power] sets is lost when the card's last program ends"
    do = "`persistence_mode = true` in [power] turns it on"
    tell(turn, card, "power", f"{named(card)}: {why}; {do}")
    return replace(card, persistence=replace(card.persistence, off_told=True))


def on_done(turn: Turn, card: Card, done: GpuActionDone) -> Card:
    """Take note of how nvidia-smi ended."""
    mode = card.persistence
    match done.outcome:
        case GpuOutcome.DONE:
            attempt = lever.answered(turn, mode.attempt)
            return replace(card, persistence=replace(mode, attempt=attempt))
        case GpuOutcome.FAILED:
            return _not_taken(turn, card, done.detail)
        case outcome:
            why = lever.TELLING[outcome]
            if mode.state is not LeverState.BLOCKED:
                said = f"{named(card)}: persistence mode stays off: {why}"
                tell(turn, card, "power-blocked", said)
            return replace(card, persistence=Persistence(LeverState.BLOCKED, why))


def _not_taken(turn: Turn, card: Card, why: str) -> Card:
    mode = card.persistence
    attempt = lever.failed(turn, mode.attempt)
    if not lever.given_up(attempt):
        return replace(card, persistence=replace(mode, attempt=attempt))
    if mode.state is not LeverState.DEGRADED:
        tell(turn, card, "power-degraded", f"{named(card)}: persistence mode stays off: {why}")
    given_up = replace(mode, state=LeverState.DEGRADED, why=why, attempt=attempt)
    return replace(card, persistence=given_up)


def again(card: Card) -> Card:
    """Return the card with what was given up before due for another try."""
    if card.persistence.state in (LeverState.BLOCKED, LeverState.DEGRADED):
        return replace(card, persistence=Persistence(attempt=Attempt()))
    return card
