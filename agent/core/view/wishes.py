# SPDX-License-Identifier: Apache-2.0
"""The parts of status.json that are about operators: what they asked for, how telling them goes."""

from __future__ import annotations

from agent.core.record import dataclass


@dataclass(frozen=True, slots=True)
class PauseView:
    """Since when, until when and by whom llmagent is told to watch and not to act."""

    since_seconds: float
    until_seconds: float
    by: str


@dataclass(frozen=True, slots=True)
class AskedView:
    """A restart or a drain that an operator asked for: in words, by whom, and its time.

    `due_seconds` is the earliest of a restart, the latest of a drain.
    """

    what: str
    by: str
    due_seconds: float


@dataclass(frozen=True, slots=True)
class NotifyView:
    """How it goes with telling people; times since the epoch, 0 for never.

    `unsent` are messages that wait or were tried in vain, `problem` is why, "" for nothing;
    `given_up` were tried for a day. `heartbeat_problem` is that of the dead-man's switch.
    """

    unsent: int
    last_sent_seconds: float
    problem: str
    given_up: int
    heartbeat_problem: str
