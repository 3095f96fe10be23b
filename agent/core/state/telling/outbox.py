# SPDX-License-Identifier: Apache-2.0
"""What waits to be told, what waits to be sent, and what was sent. Times are in agent time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from agent.core.record import dataclass
from agent.core.settings.notify import Severity


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that a person is to be told; `service` is "" for the host."""

    at: float
    severity: Severity
    service: str
    text: str
    """What happened, why, what was done; one or a few sentences of our own."""

    to_do: str = ""
    """What a person must do; "" for nothing."""


@dataclass(frozen=True, slots=True)
class Incident:
    """A service that is not there for those who ask it, from its death to its end.

    `told`: it was said that it is not back, so that its end is told too.
    """

    since: float
    cause: str
    cure: str = ""
    starts: int = 0
    told: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """What goes to each notifier; `left` are those that have not taken it, () before the first try.

    `number` names it in what comes of it.
    """

    number: int
    at: float
    severity: Severity
    title: str
    body: str
    tries: int = 0
    retry_at: float = 0.0
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OutboxLive:
    """What only this process knows; never stored: a message under way may be sent once more."""

    under_way: int = 0
    """The number of the message that is being sent, 0 for none."""

    asked_at: float = 0.0
    pinged_at: float = 0.0
    """When the dead-man's switch was last asked for."""

    not_well: str = ""
    """What was not well when it was; "" for nothing."""

    ping_failed: str = ""
    """Why that did not come through, "" where it did."""


@dataclass(frozen=True, slots=True)
class Outbox:
    """All of it; bounded in each part."""

    incidents: Mapping[str, Incident] = field(default_factory=dict)
    """By service: those that are not over."""

    entries: tuple[Entry, ...] = ()
    left_out: int = 0
    """Entries for which there was no room."""

    messages: tuple[Message, ...] = ()
    """What is to be sent, the oldest first."""

    next_number: int = 1
    composed_at: tuple[float, ...] = ()
    """When messages of the last hours were made: what bounds a storm."""

    night: tuple[Entry, ...] = ()
    """What happened since the last summary."""

    digest_at: float = 0.0
    last_sent_at: float = 0.0
    problem: str = ""
    """Why the last try did not reach everybody; "" when it did."""

    given_up: int = 0
    """Messages that could not be sent for a day, or for which there was no room."""

    live: OutboxLive = field(default_factory=OutboxLive)
