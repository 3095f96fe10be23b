# SPDX-License-Identifier: Apache-2.0
"""What a host remembers of its group, and what it has last seen of the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from types import MappingProxyType

from agent.core.cluster.lessons import NO_LESSONS, Lesson
from agent.core.cluster.member import UNKNOWN, Cause, Generation, Member
from agent.core.diagnosis.reader import Diagnosis
from agent.core.record import dataclass

FRESH_SECONDS = 10.0
"""A word that is older says nothing of now; peers are asked every second or two."""


AWAY_SECONDS = 60.0
"""For how long at least a host must be away for anything to follow for what runs: an agent that is
started anew, a cable that is put into another port, or a switch that starts, takes less."""


@dataclass(frozen=True, slots=True)
class PeerSeen:
    """What was last heard of one peer. Times are in agent time, 0 for never."""

    member: Member | None = None
    """Its last word."""

    at: float = 0.0
    """When that was."""

    changed_at: float = 0.0
    """Since when its generation and its part in it are as they are."""

    problem: str = ""
    """Why the last question was not answered, "" when it was."""

    engine_open: bool | None = None
    """Whether its engine took a connection while its agent was away; None: not known."""

    cut_off_since: float = 0.0
    """Since when what is sent to its host is not acknowledged, 0 while nothing shows that."""

    away_told: bool = False


NO_PEERS: Mapping[str, PeerSeen] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class GroupLive:
    """What only this process of the agent knows of the group; never stored."""

    since: float = 0.0
    """Since when the peers are asked."""

    peers: Mapping[str, PeerSeen] = field(default_factory=lambda: NO_PEERS)
    """By the address of their agents."""

    ready: bool = False
    """Nothing of this host's own keeps the start back."""

    sees: tuple[int, ...] = ()
    """The members that are seen ready or running in the own generation."""

    waits: str = ""
    """For whom the start waits, as the history was last told; numbers are left out."""

    waits_told_at: float = 0.0
    log: Diagnosis | None = None
    """What the log of a rank that has ended says, while a peer may know more."""

    stop_at: float = 0.0
    """Since when what runs is to end for a later generation."""

    def cut_off(self, at: float) -> str:
        """Return the address of a peer whose host is cut off from this one, "" for none."""
        for address, seen in self.peers.items():
            if seen.cut_off_since and at - seen.cut_off_since >= AWAY_SECONDS:
                return address
        return ""

    def misses_somebody(self, at: float, seconds: float = FRESH_SECONDS) -> bool:
        """Tell whether nothing was heard of a peer for longer than that."""
        return any(at - max(seen.at, self.since) > seconds for seen in self.peers.values())


NO_LIVE_GROUP = GroupLive()


@dataclass(frozen=True, slots=True)
class Group:
    """The own part in a group, as it is remembered across the agent's death."""

    generation: Generation = UNKNOWN
    run: Generation | None = None
    """The generation in which the last run was started, None for a run that nobody agreed on."""

    cause: Cause | None = None
    """Why the generation began."""

    cause_at: float = 0.0
    """When that was heard of."""

    lessons: Mapping[str, Lesson] = field(default_factory=lambda: NO_LESSONS)

    live: GroupLive = NO_LIVE_GROUP

    @property
    def used(self) -> bool:
        """Whether the own rank was started in this generation: once a generation, and no more."""
        return self.run == self.generation

    def with_log(self, log: Diagnosis | None) -> Group:
        """Return it with what the log of the ended rank says, until that is judged."""
        return replace(self, live=replace(self.live, log=log))


@dataclass(frozen=True, slots=True)
class PeerAnswered:
    """A peer's agent was asked; `member` is None where it gave no word on this service: `problem`.

    `engine_open` as in PeerSeen; `cut_off`: what is sent to its host is not acknowledged.
    """

    at: float
    service: str
    address: str
    member: Member | None
    problem: str = ""
    engine_open: bool | None = None
    cut_off: bool = False
