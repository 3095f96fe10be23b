# SPDX-License-Identifier: Apache-2.0
"""A card setting that the driver may accept and still not apply.

It is asked of nvidia-smi, read back through NVML, tried three times with growing waits and then
once an hour; what the card or the driver refuses for good is left until they change.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Protocol, TypeVar

from agent.core.changed import changed
from agent.core.gpu.reading import Gpu
from agent.core.judges.cards.sentences import named, tell
from agent.core.judges.turn import Turn
from agent.core.measures import HOUR_SECONDS
from agent.core.state.card import Attempt, Card, LeverState, Setting
from agent.core.state.observations import GpuActionDone, GpuOutcome

S = TypeVar("S", bound=Setting)

TRIES = 3
FIRST_WAIT_SECONDS = 5.0

LOST_SECONDS = 60.0
"""nvidia-smi has a deadline far below; after this long its end was lost with an agent process."""

READ_BACK_SECONDS = 15.0
"""Limits are read at least this often; a reading that contradicts counts only after it."""

TELLING: dict[GpuOutcome, str] = {
    GpuOutcome.NOT_SUPPORTED: "the card does not support it",
    GpuOutcome.NOT_PERMITTED: "the driver does not permit it",
    GpuOutcome.NO_TOOL: "there is no nvidia-smi on this host: install the driver's utilities",
}
"""Outcomes that another try cannot change."""


class Lever(Protocol):
    """What every module of this folder is, but this one."""

    def on_gpu(self, turn: Turn, card: Card, gpu: Gpu, /) -> Card:
        """Judge a reading of the card against what is asked of it."""

    def on_done(self, turn: Turn, card: Card, done: GpuActionDone, /) -> Card:
        """Take note of how nvidia-smi ended."""

    def setting(self, card: Card, /) -> Setting:
        """Return how far it has come with the card."""

    def begin_anew(self, card: Card, /) -> Card:
        """Return the card with nothing under way: who had asked for it is gone."""

    def again(self, card: Card, /) -> Card:
        """Return the card with what was given up before due for another try."""


class Stage(Enum):
    """What a reading finds a setting in; `stage` tells them apart."""

    UNDER_WAY = auto()
    """nvidia-smi is at it."""

    REACHED = auto()
    """The reading shows what is asked."""

    BLOCKED = auto()
    """The card or the driver refuses it."""

    LOST = auto()
    """It was asked of nvidia-smi, whose end was never told."""

    READING_BACK = auto()
    """nvidia-smi has set it; the reading may still be an old one."""

    NOT_TAKEN = auto()
    """nvidia-smi has set it, and the reading contradicts."""

    RESTING = auto()
    """It did not take; the next try is due later."""

    DUE = auto()
    """It is to be asked of nvidia-smi."""


def stage(turn: Turn, setting: Setting, *, reached: bool, patience: float) -> Stage:
    """Return what the setting is in; the first that holds, in this order.

    `patience` is after how many seconds a reading is newer than what nvidia-smi has set.
    """
    attempt = setting.attempt
    if is_under_way(turn, attempt):
        return Stage.UNDER_WAY
    if reached:
        return Stage.REACHED
    if setting.state is LeverState.BLOCKED:
        return Stage.BLOCKED
    if attempt.action_id:
        return Stage.LOST
    if attempt.set_at:
        old = turn.at < attempt.set_at + patience
        return Stage.READING_BACK if old else Stage.NOT_TAKEN
    return Stage.RESTING if turn.at < attempt.retry_at else Stage.DUE


def begin(turn: Turn, attempt: Attempt, action_id: int, why: str) -> Attempt:
    """Return the attempt that is under way now."""
    return Attempt(action_id, turn.at, tries=attempt.tries + 1, why=why or attempt.why)


def record_success(turn: Turn, attempt: Attempt) -> Attempt:
    """Return the attempt once nvidia-smi ended well; only a reading shows whether it took."""
    return changed(attempt, action_id=0, set_at=turn.at)


def is_under_way(turn: Turn, attempt: Attempt) -> bool:
    """Tell whether nvidia-smi is at it, as far as can be known."""
    return bool(attempt.action_id) and turn.at - attempt.asked_at <= LOST_SECONDS


def not_taken(turn: Turn, card: Card, setting: S, why: str, said: str) -> S:
    """Return the setting after a try that did not take; `said` is told once it is given up."""
    tries = setting.attempt.tries
    wait = FIRST_WAIT_SECONDS * 2 ** (tries - 1) if tries < TRIES else HOUR_SECONDS
    attempt = Attempt(tries=tries, retry_at=turn.at + wait, why=setting.attempt.why)
    if tries < TRIES:
        return changed(setting, attempt=attempt)
    if setting.state is not LeverState.DEGRADED:
        tell(turn, card, "power-degraded", f"{named(card)}: {said}")
    return changed(setting, state=LeverState.DEGRADED, why=why, attempt=attempt)


def refused(turn: Turn, card: Card, setting: S, why: str, said: str) -> S:
    """Return the setting that another try cannot bring about; `said` is told when that is new."""
    if setting.state is not LeverState.BLOCKED or setting.why != why:
        tell(turn, card, "power-blocked", f"{named(card)}: {said}: {why}")
    return changed(setting, state=LeverState.BLOCKED, why=why, attempt=Attempt())


def why_refused(done: GpuActionDone) -> str:
    """Return what nvidia-smi's end says of a setting that it refused."""
    return TELLING[done.outcome] + (f" ({done.detail})" if done.detail else "")
