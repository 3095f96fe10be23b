# SPDX-License-Identifier: Apache-2.0
"""A setting of a card that may not take: tried three times with growing waits, then hourly."""

from __future__ import annotations

from dataclasses import replace

from agent.core.judges.turn import Turn
from agent.core.state.card import Attempt
from agent.core.state.observations import GpuOutcome

TRIES = 3
FIRST_WAIT_SECONDS = 5.0
HOUR_SECONDS = 3600.0

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


def begun(turn: Turn, attempt: Attempt, action_id: int, why: str) -> Attempt:
    """Return the attempt that is under way now."""
    return Attempt(action_id, turn.at, tries=attempt.tries + 1, why=why or attempt.why)


def answered(turn: Turn, attempt: Attempt) -> Attempt:
    """Return the attempt once nvidia-smi ended well; only a reading shows whether it took."""
    return replace(attempt, action_id=0, set_at=turn.at)


def failed(turn: Turn, attempt: Attempt) -> Attempt:
    """Return the attempt that did not take, with the time of the next one."""
    wait = FIRST_WAIT_SECONDS * 2 ** (attempt.tries - 1) if attempt.tries < TRIES else HOUR_SECONDS
    return Attempt(tries=attempt.tries, retry_at=turn.at + wait, why=attempt.why)


def lost(turn: Turn, attempt: Attempt) -> bool:
    """Tell whether the end of an action is overdue."""
    return bool(attempt.action_id) and turn.at - attempt.asked_at > LOST_SECONDS


def given_up(attempt: Attempt) -> bool:
    """Tell whether it was tried as often as makes sense."""
    return attempt.tries >= TRIES
