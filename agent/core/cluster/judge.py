# SPDX-License-Identifier: Apache-2.0
"""What one host does for its group, from its own state and what it last saw of the others. Pure.

All ranks of a generation live and die together. Nobody votes and nobody leads: each host acts on
what it sees, and vLLM's own rendezvous is the arbiter of who belongs together.

- A rank is started once a generation. A host whose rank has ended begins the next generation; all
  others see the higher number, end their own rank, and follow.
- A rank is started when every other host was just seen ready for the same generation and says
  that it sees every member itself. So a host that cannot hear the others keeps all of them from
  starting, instead of letting some wait for it with their GPUs taken.
- A host that is away is waited for. What serves goes on without its agent, as nothing is known
  against it: the head's own requests show whether all ranks live, and a rank that only computes
  looks at the head's engine itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agent.core.cluster.group import FRESH_SECONDS, Group, PeerSeen
from agent.core.cluster.member import RUNS, UNKNOWN, WITH_US, Generation, Member, Stance
from agent.core.cluster.same import differences
from agent.core.record import dataclass

JOIN_SECONDS = 60.0
"""How long a rank may run while a host that answers does not run its own of the generation."""

HEAD_CLOSED_SECONDS = 60.0
"""How long a rank may run while its head's agent is away and the head's engine is closed."""

HEAD_AWAY_SECONDS = 300.0
"""The same where nothing tells whether the head's engine lives."""

START_ALONE_SECONDS = 120.0
"""How long a start may show nothing while a host that was there for it is away: ranks wait for each
other again and again until they serve, and one that is off by then is never taken in."""

DRAIN_MARGIN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Own:
    """This host's own rank; `group` is what is remembered of its part.

    `up`: its process runs. `wanted`: the service is meant to run as it does. `settled`: how an end
    came about is known, so that it can be told. `ready`: nothing here keeps a start back.
    `running_since` is the start of the run, `drain_seconds` what the head's requests may take.
    `moved_at` is when the log of a start last showed that it goes on; None where that tells
    nothing: the rank serves, or it only computes, and is silent once it is loaded.
    """

    member: int
    members: frozenset[int]
    headless: bool
    group: Group
    up: bool
    wanted: bool
    settled: bool
    ready: bool
    running_since: float
    drain_seconds: float
    same: Mapping[str, str]
    moved_at: float | None = None


@dataclass(frozen=True, slots=True)
class Nothing:
    """All is as it should be, or this host has nothing to do."""


@dataclass(frozen=True, slots=True)
class Follow:
    """Take over the peer's generation; `keep`: the rank that runs is one of it."""

    address: str
    keep: bool = False


@dataclass(frozen=True, slots=True)
class Begin:
    """Begin this generation; `why` is "" where the end of the own rank is the reason."""

    generation: Generation
    why: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """End the rank that runs: it is of another generation than the group."""

    kill: bool


@dataclass(frozen=True, slots=True)
class Start:
    """Start the own rank: all others are ready for the same generation."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Hold the start back, for this peer or several."""

    why: str


Step = Nothing | Follow | Begin | End | Start | Wait
Peers = Mapping[str, PeerSeen]


def judge(own: Own, peers: Peers, at: float, stop_since: float = 0.0) -> Step:
    """Return the next step; asked again after each, and at every look.

    `stop_since` is when the rank that runs was first to be ended, 0 for not yet.
    """
    group = own.group
    newest = _newest(peers, at)
    if newest is not None:
        address, member = newest
        if member.generation > group.generation:
            return _follow(own, address, member, peers, at)
    if group.used and own.settled and not (own.up and own.wanted):
        return Begin(_next(own, peers))
    if own.up and not group.used:
        return _end(own, peers, at, stop_since)
    if own.up:
        why = _alone(own, peers, at)
        return Begin(_next(own, peers), why) if why else Nothing()
    if not own.ready:
        return Nothing()
    if group.generation == UNKNOWN:
        return Begin(_next(own, peers), "the first start of all hosts together")
    why = "; ".join(_missing(own, peers, at))
    return Wait(f"waits for {why}") if why else Start()


def is_fresh(seen: PeerSeen, at: float) -> bool:
    """Tell whether the peer's last word is about now."""
    return seen.member is not None and seen.at > 0 and at - seen.at <= FRESH_SECONDS


def heard(peers: Peers, at: float) -> Iterator[tuple[str, Member]]:
    """Yield what each peer says of its rank, of those that were just heard, by its address."""
    for address, seen in peers.items():
        if seen.member is not None and is_fresh(seen, at):
            yield address, seen.member


def seen_members(group: Group, peers: Peers, at: float) -> tuple[int, ...]:
    """Return the members that are ready or run in the own generation."""
    return tuple(
        sorted(
            theirs.member
            for _, theirs in heard(peers, at)
            if theirs.generation == group.generation and theirs.stance in WITH_US
        )
    )


def name_of(address: str, seen: PeerSeen) -> str:
    """Return a peer's own name for itself, or how it was named here."""
    if seen.member is not None and seen.member.host:
        return seen.member.host
    return address.partition("://")[2]


def _newest(peers: Peers, at: float) -> tuple[str, Member] | None:
    """Return the peer of the highest generation, of those that were just heard."""
    return max(heard(peers, at), key=lambda item: item[1].generation, default=None)


def _next(own: Own, peers: Peers) -> Generation:
    known = [s.member.generation.number for s in peers.values() if s.member is not None]
    return Generation(max([own.group.generation.number, *known]) + 1, own.member)


def _follow(own: Own, address: str, theirs: Member, peers: Peers, at: float) -> Step:
    if not any(
        other.generation == theirs.generation and other.stance in RUNS
        for _, other in heard(peers, at)
    ):
        return Follow(address)
    if own.up and own.group.generation == UNKNOWN:
        return Follow(address, keep=True)  # what was remembered is lost, and the rank is not
    # Ranks that run without ours wait for one that was: what was remembered here is lost.
    return Begin(
        Generation(theirs.generation.number + 1, own.member),
        "this host was not in the generation that runs on others",
    )


def _end(own: Own, peers: Peers, at: float, since: float) -> End | Nothing:
    """End a rank of an earlier generation: the head's first where its requests may end."""
    cause = own.group.cause
    if cause is None or not cause.planned:
        return End(kill=True)
    if own.member == 0 or not own.headless:
        return End(kill=False)
    head = _head(peers)
    has_ended = (
        head is None
        or not is_fresh(head, at)
        or (head.member is not None and head.member.stance in (Stance.DOWN, Stance.READY))
    )
    patience = own.drain_seconds + DRAIN_MARGIN_SECONDS
    if has_ended or (since and at - since >= patience):
        return End(kill=False)
    return Nothing()


def _head(peers: Peers) -> PeerSeen | None:
    return next((s for s in peers.values() if s.member is not None and s.member.member == 0), None)


def _alone(own: Own, peers: Peers, at: float) -> str:
    """Return why the rank cannot be of use any more, "" while it may be."""
    for address, seen in peers.items():
        theirs = seen.member
        if theirs is not None and is_fresh(seen, at):
            together = theirs.generation == own.group.generation and theirs.stance in RUNS
            apart = at - max(own.running_since, seen.changed_at)
            if not together and own.group.generation != UNKNOWN and apart >= JOIN_SECONDS:
                return (
                    f"{name_of(address, seen)} has not started its rank for {apart:.0f} s"
                    f" ({theirs.reason or theirs.stance.value})"
                )
        elif own.moved_at is not None and theirs is not None:
            silent = at - max(own.running_since, own.moved_at, seen.at)
            if theirs.generation == own.group.generation and silent >= START_ALONE_SECONDS:
                return (
                    f"{name_of(address, seen)}, which was there for this start, does not answer for"
                    f" {at - seen.at:.0f} s, and the start does not go on: the GPUs are given back"
                )
        elif own.headless and _is_head(seen, peers):
            silent = at - max(own.running_since, seen.at)
            if seen.engine_open:
                continue  # its agent is away, its engine is not
            patience = HEAD_CLOSED_SECONDS if seen.engine_open is False else HEAD_AWAY_SECONDS
            if silent >= patience:
                closed = " and its engine is closed" if seen.engine_open is False else ""
                return (
                    f"the head, {name_of(address, seen)}, does not answer for {silent:.0f} s"
                    f"{closed}: the GPUs are given back"
                )
    return ""


def _is_head(seen: PeerSeen, peers: Peers) -> bool:
    """Tell whether the peer is the head; one that never answered may be, while nobody else is."""
    return seen.member.member == 0 if seen.member is not None else _head(peers) is None


def _missing(own: Own, peers: Peers, at: float) -> Iterator[str]:
    """Yield what keeps the ranks from starting together, peer by peer."""
    for address, seen in peers.items():
        name, theirs = name_of(address, seen), seen.member
        if theirs is None or not is_fresh(seen, at):
            yield f"{name} ({_away(seen, at)})"
        elif theirs.member == own.member:
            yield f"{name}, which says that it is member {own.member}, too: look at its rank"
        elif theirs.generation != own.group.generation or theirs.stance not in WITH_US:
            yield f"{name} ({theirs.reason or theirs.stance.value})"
        elif unlike := tuple(differences(own.same, theirs.same)):
            shown = (f"{one.name} is {one.here} here and {one.there} there" for one in unlike)
            yield f"{name} to be the same: {', '.join(shown)}"
        elif unseen := own.members - {theirs.member} - set(theirs.sees):
            who = "this host" if own.member in unseen else "another host"
            yield f"{name}, which does not see {who}"


def _away(seen: PeerSeen, at: float) -> str:
    if not seen.at:
        return seen.problem or "not asked yet"
    return f"no answer for {at - seen.at:.0f} s" + (f": {seen.problem}" if seen.problem else "")
