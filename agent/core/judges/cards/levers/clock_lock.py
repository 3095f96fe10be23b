# SPDX-License-Identifier: Apache-2.0
"""Holds a card's clocks in a range, for cards that have no power limit (GB10, laptops).

No card tells its lock on all drivers, and a lock sets no clock event bit on newer ones; so it is
remembered, set again after whatever may have undone it, and told by clocks above it.
"""

from __future__ import annotations

from agent.core.changed import changed
from agent.core.gpu.reading import Gpu
from agent.core.judges.cards.levers import lever
from agent.core.judges.cards.sentences import named, tell
from agent.core.judges.turn import Turn
from agent.core.state.actions import LockClocks
from agent.core.state.card import Attempt, Card, ClockLock, LeverState
from agent.core.state.observations import GpuActionDone, GpuOutcome

STEP_MHZ = 45.0
"""A clock that is this much above the lock is above it: cards step by 15 MHz and round up."""

RELOCK_SECONDS = 1200.0
"""A lock that was set again is not set again before: others may want the clocks they set."""

LOOKS = 5
"""Looks in a row with a clock above the lock that show that it is gone."""


def on_gpu(turn: Turn, card: Card, gpu: Gpu) -> Card:
    """Judge a reading of the card against the lock that is asked of it."""
    asked = turn.policy.power.limits_of(card.uuid, gpu.index, gpu.name).lock_clocks_mhz
    lock = card.lock
    if asked is None and lock.target_mhz is None:
        return card if lock == ClockLock() else changed(card, lock=ClockLock())
    if lever.is_under_way(turn, lock.attempt):
        return card
    if asked != lock.target_mhz:
        return _set(turn, changed(card, lock=changed(lock, attempt=Attempt())), asked)
    if lock.state is LeverState.BLOCKED or turn.at < lock.attempt.retry_at:
        return card
    if lock.state is LeverState.IN_FORCE:
        return _watch(turn, card, gpu)
    return _set(turn, card, asked)


def _set(turn: Turn, card: Card, mhz: tuple[int, int] | None) -> Card:
    action_id = turn.take_id()
    turn.do(LockClocks(card.uuid, action_id, mhz))
    attempt = lever.begin(turn, card.lock.attempt, action_id, "")
    state = LeverState.DEGRADED if card.lock.state is LeverState.DEGRADED else LeverState.SETTING
    if mhz is None:
        return changed(card, lock=changed(card.lock, state=state, attempt=attempt))
    told = card.lock.told and card.lock.target_mhz == mhz
    return changed(card, lock=ClockLock(state, "", attempt, mhz, told))


def _watch(turn: Turn, card: Card, gpu: Gpu) -> Card:
    clock, lock = gpu.clocks_hertz.get("sm"), card.lock
    assert lock.target_mhz is not None
    undone = card.live.upset is not None and card.live.upset_at > lock.attempt.set_at
    above = clock is not None and clock / 1e6 > lock.target_mhz[-1] + STEP_MHZ
    looks = card.live.above_lock + 1 if above else 0
    card = changed(card, live=changed(card.live, above_lock=looks))
    if not undone and looks < LOOKS:
        return card
    if looks >= LOOKS:
        what = f"the SM clock is above the locked {_range(lock)}; it is locked again"
        tell(turn, card, "power-drift", f"{named(card)}: {what}")
    card = changed(card, live=changed(card.live, above_lock=0))
    return _set(turn, changed(card, lock=changed(lock, attempt=Attempt())), _pair(lock))


def _pair(lock: ClockLock) -> tuple[int, int] | None:
    return None if lock.target_mhz is None else (lock.target_mhz[0], lock.target_mhz[-1])


def on_done(turn: Turn, card: Card, done: GpuActionDone) -> Card:
    """Take note of how nvidia-smi ended."""
    asked = turn.policy.power.limits_of(card.uuid, card.index, card.name).lock_clocks_mhz
    if done.outcome is GpuOutcome.DONE:
        return _done(turn, card, released=asked is None)
    if done.outcome is GpuOutcome.FAILED:
        return _not_taken(turn, card, done.detail)
    why = lever.why_refused(done)
    blocked = lever.refused(turn, card, card.lock, why, "clocks are not locked")
    return changed(card, lock=changed(blocked, target_mhz=asked, told=False))


def _done(turn: Turn, card: Card, *, released: bool) -> Card:
    lock = card.lock
    if released:
        tell(turn, card, "power", f"{named(card)}: clocks are no longer locked")
        return changed(card, lock=ClockLock())
    if not lock.told:
        tell(turn, card, "power", f"{named(card)}: clocks are locked to {_range(lock)}")
    attempt = Attempt(set_at=turn.at, retry_at=turn.at + RELOCK_SECONDS if lock.told else 0.0)
    in_force = changed(lock, state=LeverState.IN_FORCE, why="", attempt=attempt, told=True)
    return changed(card, lock=in_force)


def _not_taken(turn: Turn, card: Card, why: str) -> Card:
    what = f"clocks are not locked after {card.lock.attempt.tries} tries: {why}"
    said = f"{what}; tried once an hour from now on"
    return changed(card, lock=lever.not_taken(turn, card, card.lock, why, said))


def _range(lock: ClockLock) -> str:
    assert lock.target_mhz is not None
    return f"{lock.target_mhz[0]} to {lock.target_mhz[-1]} MHz"


def again(card: Card) -> Card:
    """Return the card with what was given up before due for another try."""
    if card.lock.state in (LeverState.BLOCKED, LeverState.DEGRADED):
        fresh = changed(card.lock, state=LeverState.SETTING, attempt=Attempt())
        return changed(card, lock=fresh)
    return card


def setting(card: Card) -> ClockLock:
    """Return how far the lock has come."""
    return card.lock


def begin_anew(card: Card) -> Card:
    """Return the card with nothing under way."""
    return changed(card, lock=changed(card.lock, attempt=Attempt()))
