# SPDX-License-Identifier: Apache-2.0
"""What is wanted of those who send, and what they say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.core.record import dataclass

if TYPE_CHECKING:
    from agent.core.state.telling.outbox import Message


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to each notifier of the file, or to those that are left."""

    message: Message
    urls_file: str


@dataclass(frozen=True, slots=True)
class Ping:
    """Ask for the address of the dead-man's switch; `well` tells it so, else `why` not."""

    file: str
    well: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """A message was sent, or not: `left` are the notifiers that did not take it, with `problem`.

    Of a ping `number` is 0.
    """

    at: float
    number: int
    sent: bool
    left: tuple[str, ...] = ()
    problem: str = ""
    took: tuple[str, ...] = ()
    """Who was told."""
