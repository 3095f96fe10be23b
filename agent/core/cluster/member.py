# SPDX-License-Identifier: Apache-2.0
"""What each host of a group tells the others of its own rank, and how much of that is believed.

Whoever answers at a peer's address is a stranger until shown otherwise: numbers have bounds, texts
are plain and short, and what does not have the shape is no answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from agent.core.cluster.lessons import NO_LESSONS, Lesson, sound
from agent.core.codec import WRONG, decode
from agent.core.measures import DAY_SECONDS
from agent.core.plain import plain
from agent.core.record import dataclass

FORMAT = 1
LONGEST_SENTENCE = 300
MOST_NAMED = 128
LONGEST_PAUSE_SECONDS = 7 * DAY_SECONDS
"""As for an operator's own: a host that goes away with a pause does not keep the others in it."""

HIGHEST = 1 << 48
"""A generation a second would need nine million years."""


@dataclass(frozen=True, slots=True, order=True)
class Generation:
    """One life of the group, from the start of all ranks to the end of all: the higher one counts.

    Two hosts may begin the same number at once: then the one of the higher member counts.
    """

    number: int = 0
    """0: none is known."""

    begun_by: int = 0
    """The member that began it."""

    def __str__(self) -> str:
        """Return it as the history tells it."""
        return str(self.number)


UNKNOWN = Generation()


class Stance(StrEnum):
    """How one host stands to its generation."""

    DOWN = "down"
    """Its rank does not run and cannot be started now."""

    READY = "ready"
    """It starts as soon as all others are ready."""

    RUNNING = "running"
    """Its rank of this generation runs."""

    SERVING = "serving"
    """The same, and requests are answered, or the head says so."""

    ENDING = "ending"
    """Its rank of an earlier generation runs still."""


RUNS = frozenset({Stance.RUNNING, Stance.SERVING})
WITH_US = RUNS | {Stance.READY}


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a generation began.

    `failure` is the class of what failed, "" where somebody asked for it; `host` is where, "" for
    the host that tells it. `planned`: what ran was well, so that its requests may end first.
    """

    sentence: str
    failure: str = ""
    host: str = ""
    planned: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """A host's own word on its rank of one service."""

    member: int
    generation: Generation
    stance: Stance
    host: str = ""
    head: bool = False
    reason: str = ""
    """Why it stands so, in one sentence."""

    sees: tuple[int, ...] = ()
    """The members that it sees ready or running in its generation."""

    cause: Cause | None = None
    """Why its generation began."""

    held_back: str = ""
    """What slows its cards down, in one sentence."""

    rolled_back: str = ""
    """Why the last known good settings run in place of agent.toml's, "" while those do."""

    paused_by: str = ""
    paused_seconds: float = 0.0
    """For how long it is still paused."""

    lessons: Mapping[str, Lesson] = field(default_factory=lambda: NO_LESSONS)
    same: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """What must be the same on all hosts, by its name."""


def member_of(document: Mapping[str, Any], service: str) -> Member | None:
    """Return what a peer's document says of the service; None where it knows no such group.

    Raises ValueError for what is no such document.
    """
    services = document.get("services")
    if document.get("format") != FORMAT or not isinstance(services, dict):
        raise ValueError("answers in another form than this llmagent knows")
    if service not in services:
        return None
    try:
        member = decode(Member, services[service])
    except WRONG as error:
        raise ValueError("says of the service what cannot be read") from error
    _bound(member)
    host = plain(str(document.get("host", "")), 64)
    cause = member.cause
    return replace(
        member,
        host=host,
        reason=plain(member.reason, LONGEST_SENTENCE),
        held_back=plain(member.held_back, LONGEST_SENTENCE),
        rolled_back=plain(member.rolled_back, LONGEST_SENTENCE),
        paused_by=plain(member.paused_by, 64),
        paused_seconds=min(member.paused_seconds, LONGEST_PAUSE_SECONDS),
        cause=None if cause is None else _plain_cause(cause, host),
        lessons=sound(member.lessons),
        same={plain(k, 64): plain(v, 200) for k, v in member.same.items()},
    )


def _plain_cause(cause: Cause, host: str) -> Cause:
    return Cause(
        plain(cause.sentence, LONGEST_SENTENCE),
        plain(cause.failure, 64),
        plain(cause.host, 64) or host,
        cause.planned,
    )


def _bound(member: Member) -> None:
    g = member.generation
    numbers = (member.member, g.number, g.begun_by, *member.sees)
    if not all(0 <= number < HIGHEST for number in numbers):
        raise ValueError("says of the service what cannot be: a number out of all bounds")
    if max(len(member.sees), len(member.lessons), len(member.same)) > MOST_NAMED:
        raise ValueError("says more of the service than there can be")
