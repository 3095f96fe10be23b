# SPDX-License-Identifier: Apache-2.0
"""What each host of a group decides alone, whatever happens to ranks, agents, hosts and links.

Hosts in virtual time with nothing but the judge between them: a look a second, a word of each
other host every two. The engine's ranks meet as vLLM's do: each waits for all, for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.core.cluster.group import FRESH_SECONDS, Group, PeerSeen
from agent.core.cluster.judge import (
    HEAD_AWAY_SECONDS,
    HEAD_CLOSED_SECONDS,
    JOIN_SECONDS,
    Begin,
    End,
    Follow,
    Own,
    Start,
    Step,
    Wait,
    judge,
    seen_members,
)
from agent.core.cluster.member import UNKNOWN, Cause, Generation, Member, Stance

REQUEST_SECONDS: Final = 240.0
"""After so long the head's own requests have shown that a rank is gone, or its start that it does
not move, as the judges of life do."""

BACK_OFF_SECONDS: Final = 5.0
LOOKS: Final = 8


@dataclass
class Rank:
    """A process of the engine; `met` are the ranks that it has come together with."""

    met: frozenset[int] = frozenset()
    since: float = 0.0
    alone_since: float = 0.0


@dataclass
class Host:
    member: int
    size: int
    group: Group = field(default_factory=Group)
    peers: dict[str, PeerSeen] = field(default_factory=dict)
    rank: Rank | None = None
    started_at: float = 0.0
    retry_at: float = 0.0
    host_up: bool = True
    agent_up: bool = True
    ready: bool = False
    waits: str = ""
    starts: list[float] = field(default_factory=list)
    other_generation_since: float = 0.0
    alone_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.peers = {f"http://{n}:1": PeerSeen() for n in range(self.size) if n != self.member}

    @property
    def up(self) -> bool:
        return self.host_up and self.agent_up

    def own(self, at: float) -> Own:
        return Own(
            member=self.member,
            members=frozenset(range(self.size)),
            headless=self.member > 0,
            group=self.group,
            up=self.rank is not None,
            wanted=self.rank is not None,
            settled=True,
            ready=self.rank is None and at >= self.retry_at,
            running_since=self.started_at,
            drain_seconds=30.0,
            same={},
        )

    def word(self, at: float) -> Member:
        if self.rank is not None:
            stance = Stance.RUNNING if self.group.used else Stance.ENDING
        else:
            stance = Stance.READY if self.ready else Stance.DOWN
        sees = seen_members(self.group, self.peers, at)
        return Member(self.member, self.group.generation, stance, sees=sees)

    def look(self, at: float) -> None:
        self.ready, self.waits = False, ""
        for _ in range(6):
            step: Step = judge(self.own(at), self.peers, at)
            match step:
                case Follow():
                    theirs = self.peers[step.address].member
                    assert theirs is not None
                    run = theirs.generation if step.keep else self.group.run
                    self.group = replace(self.group, generation=theirs.generation, run=run)
                case Begin():
                    cause = Cause(step.why or "ended")
                    self.group = replace(self.group, generation=step.generation, cause=cause)
                case End():
                    self.rank = None
                case Start():
                    self.ready = True
                    self.group = replace(self.group, run=self.group.generation)
                    self.rank, self.started_at = Rank(since=at), at
                    self.starts.append(at)
                    return
                case Wait():
                    self.ready, self.waits = True, step.why
                    return
                case _:
                    return


@dataclass
class World:
    size: int
    hosts: list[Host] = field(default_factory=list)
    cut: set[tuple[int, int]] = field(default_factory=set)
    at: float = 1000.0
    longest_alone: float = 0.0
    longest_beside: float = 0.0

    def __post_init__(self) -> None:
        self.hosts = [Host(member, self.size) for member in range(self.size)]

    def seconds(self, n: int) -> None:
        for _ in range(n):
            self.second()

    def second(self) -> None:
        self.at += 1.0
        self._engines()
        for host in self.hosts:
            if host.up:
                host.look(self.at)
        if self.at % 2 == 0:
            self._words()
        self._measure()

    def _engines(self) -> None:
        ranks = [host.rank for host in self.hosts if host.rank is not None]
        waiting = [one for one in ranks if not one.met]
        if len(waiting) == self.size:
            for one in waiting:
                one.met = frozenset(id(other) for other in waiting)
        living = {id(one) for one in ranks}
        for host in self.hosts:
            rank = host.rank
            if rank is None:
                continue
            # One that has met nobody waits for ever, as alone as one whose others are gone.
            gone = not rank.met or not rank.met <= living
            rank.alone_since = (rank.alone_since or self.at) if gone else 0.0
            # Only the head has requests, and its own agent looks at them.
            shown = gone and self.at - rank.alone_since >= REQUEST_SECONDS
            if host.member == 0 and host.up and shown:
                self.dies(host.member)

    def _words(self) -> None:
        words = {host.member: host.word(self.at) for host in self.hosts if host.up}
        for host in self.hosts:
            for other in self.hosts:
                if other is host or not host.up:
                    continue
                address = f"http://{other.member}:1"
                before = host.peers[address]
                heard = (host.member, other.member) not in self.cut and other.up
                if not heard:
                    linked = (host.member, other.member) not in self.cut and other.host_up
                    is_open = linked and other.rank is not None if other.member == 0 else None
                    host.peers[address] = replace(before, problem="away", engine_open=is_open)
                    continue
                word, known = words[other.member], before.member
                same = known is not None and (known.generation, known.stance) == (
                    word.generation,
                    word.stance,
                )
                changed = before.changed_at if same else self.at
                host.peers[address] = PeerSeen(word, self.at, changed)

    def _measure(self) -> None:
        head = self.hosts[0]
        highest = max(host.group.generation for host in self.hosts)
        for host in self.hosts:
            beside = host.rank is not None and host.group.generation < highest
            connected = host.up and not self.cut and all(other.up for other in self.hosts)
            if not (beside and connected):
                host.other_generation_since = 0.0
            else:
                host.other_generation_since = host.other_generation_since or self.at
                held = self.at - host.other_generation_since
                self.longest_beside = max(self.longest_beside, held)
            # While an agent is away nothing is promised of its rank, nor of those that wait for
            # the requests of a head whose agent is: what counts is the time that agents have.
            alone = host.rank is not None and bool(host.rank.alone_since)
            looked_after = host.up and not (head.rank is not None and not head.up)
            host.alone_seconds = host.alone_seconds + 1.0 if alone and looked_after else 0.0
            self.longest_alone = max(self.longest_alone, host.alone_seconds)

    def all_run(self) -> bool:
        ranks = [host.rank for host in self.hosts]
        return all(rank is not None and rank.met and not rank.alone_since for rank in ranks)

    # --- what happens ---

    def dies(self, member: int) -> None:
        host = self.hosts[member]
        host.rank, host.retry_at = None, self.at + BACK_OFF_SECONDS

    def happen(self, what: str, member: int, other: int) -> None:
        host = self.hosts[member]
        match what:
            case "rank":
                self.dies(member)
            case "agent":
                host.agent_up = not host.agent_up
            case "power":
                host.host_up = not host.host_up
                host.rank = None
            case "link" if other != member:
                self.cut ^= {(member, other)}
            case "island":
                both = {(member, n) for n in range(self.size) if n != member}
                self.cut |= both | {(n, m) for m, n in both}
            case "heal":
                self.cut.clear()

    def heal(self) -> None:
        self.cut.clear()
        for host in self.hosts:
            host.host_up = host.agent_up = True


HAPPENS = st.tuples(
    st.sampled_from(["rank", "rank", "agent", "power", "link", "island", "heal"]),
    st.integers(0, 3),
    st.integers(0, 3),
    st.sampled_from([1, 3, 7, 20, 90, 400]),
)


@settings(max_examples=60, deadline=None)
@example(2, [("agent", 0, 0, 3), ("agent", 1, 0, 1), ("rank", 0, 0, 400)])
@example(3, [("power", 1, 0, 1), ("agent", 0, 0, 400)])
@given(st.integers(2, 4), st.lists(HAPPENS, max_size=7))
def test_whatever_happens_the_promises_of_a_group_hold(
    size: int, happenings: list[tuple[str, int, int, int]]
) -> None:
    world = World(size)
    world.seconds(40)
    assert world.all_run()
    for what, member, other, then in happenings:
        world.happen(what, member % size, other % size)
        world.seconds(then)
    before = max(len(host.starts) for host in world.hosts)
    world.heal()
    world.seconds(int(REQUEST_SECONDS + JOIN_SECONDS + 60))
    assert world.all_run(), "all that is healed serves again"
    assert world.longest_beside <= LOOKS, "no rank runs on beside a later generation"
    alone = max(HEAD_AWAY_SECONDS, REQUEST_SECONDS, HEAD_CLOSED_SECONDS) + FRESH_SECONDS + LOOKS
    assert world.longest_alone <= alone, "nobody is left alone with its GPUs taken"
    ends = sum(what != "heal" for what, *_ in happenings)
    after = max(len(host.starts) for host in world.hosts)
    assert before <= 1 + 2 * ends, "a start a mishap, and one more where its host was away"
    assert after - before <= 3


def seen(member: Member, at: float = 1000.0, changed_at: float = 1000.0) -> PeerSeen:
    return PeerSeen(member, at, changed_at)


G3: Final = Generation(3, 0)
FOLLOWER: Final = Own(
    member=1,
    members=frozenset({0, 1}),
    headless=True,
    group=Group(G3, run=G3),
    up=True,
    wanted=True,
    settled=True,
    ready=False,
    running_since=900.0,
    drain_seconds=60.0,
    same={},
)
HEAD_AT: Final = "http://a:1"


def test_what_serves_with_its_head_is_left_alone() -> None:
    head = Member(0, G3, Stance.SERVING, sees=(1,))
    assert not isinstance(judge(FOLLOWER, {HEAD_AT: seen(head)}, 1001.0), Begin | End | Follow)


def test_a_later_generation_is_followed_and_the_own_rank_ended() -> None:
    head = Member(0, Generation(4, 0), Stance.DOWN)
    assert judge(FOLLOWER, {HEAD_AT: seen(head)}, 1001.0) == Follow(HEAD_AT)
    followed = replace(FOLLOWER, group=Group(Generation(4, 0), run=G3, cause=Cause("x")))
    assert judge(followed, {HEAD_AT: seen(head)}, 1001.0) == End(kill=True)


def test_a_word_that_is_old_is_no_reason_to_do_anything() -> None:
    old = seen(Member(0, Generation(9, 0), Stance.RUNNING), at=1000.0)
    step = judge(FOLLOWER, {HEAD_AT: old}, 1000.0 + FRESH_SECONDS + 1)
    assert not isinstance(step, Follow | Begin | End)


@pytest.mark.parametrize(
    ("engine_open", "patience"), [(False, HEAD_CLOSED_SECONDS), (None, HEAD_AWAY_SECONDS)]
)
def test_a_rank_whose_head_is_gone_frees_its_gpus_in_bounded_time(
    engine_open: bool | None, patience: float
) -> None:
    gone = replace(seen(Member(0, G3, Stance.SERVING)), engine_open=engine_open)
    assert not isinstance(judge(FOLLOWER, {HEAD_AT: gone}, 1000.0 + patience - 1), Begin)
    freed = judge(FOLLOWER, {HEAD_AT: gone}, 1000.0 + patience)
    assert isinstance(freed, Begin)
    assert "the GPUs are given back" in freed.why


def test_a_head_whose_agent_alone_is_away_keeps_its_ranks() -> None:
    away = replace(seen(Member(0, G3, Stance.SERVING)), engine_open=True)
    assert not isinstance(judge(FOLLOWER, {HEAD_AT: away}, 9000.0), Begin)


def test_a_planned_end_waits_for_the_heads_requests_and_not_for_ever() -> None:
    planned = Group(Generation(4, 1), run=G3, cause=Cause("restart", planned=True))
    own = replace(FOLLOWER, group=planned)
    serving = {HEAD_AT: seen(Member(0, Generation(4, 1), Stance.ENDING))}
    assert not isinstance(judge(own, serving, 1001.0, stop_since=1000.0), End)
    late = {HEAD_AT: seen(Member(0, Generation(4, 1), Stance.ENDING), at=1100.0)}
    assert judge(own, late, 1100.0, stop_since=1000.0) == End(kill=False)
    ended = {HEAD_AT: seen(Member(0, Generation(4, 1), Stance.READY))}
    assert judge(own, ended, 1001.0, stop_since=1000.0) == End(kill=False)


def test_a_rank_whose_agent_has_lost_its_memory_goes_on_in_the_generation_that_runs() -> None:
    own = replace(FOLLOWER, group=Group(UNKNOWN, run=UNKNOWN))
    head = {HEAD_AT: seen(Member(0, G3, Stance.SERVING))}
    assert judge(own, head, 1001.0) == Follow(HEAD_AT, keep=True)


def test_a_host_that_lost_its_memory_and_its_rank_does_not_join_ranks_that_wait_for_another() -> (
    None
):
    own = replace(FOLLOWER, group=Group(), up=False, wanted=False, ready=True)
    step = judge(own, {HEAD_AT: seen(Member(0, G3, Stance.SERVING))}, 1001.0)
    assert step == Begin(
        Generation(4, 1), "this host was not in the generation that runs on others"
    )


READY: Final = replace(FOLLOWER, group=Group(G3), up=False, wanted=False, ready=True)


def test_all_ready_and_seen_is_a_start() -> None:
    head = Member(0, G3, Stance.READY, sees=(1,))
    assert judge(READY, {HEAD_AT: seen(head)}, 1001.0) == Start()


@pytest.mark.parametrize(
    ("head", "at", "why"),
    [
        (Member(0, G3, Stance.READY, sees=()), 1001.0, "which does not see this host"),
        (Member(0, G3, Stance.READY, sees=(1,)), 1011.0, "no answer for 11 s"),
        (Member(0, G3, Stance.DOWN, reason="held: x"), 1001.0, "held: x"),
        (Member(0, Generation(2, 0), Stance.READY, reason="y"), 1001.0, "y"),
    ],
)
def test_a_start_waits_for_a_head_that_would_not_come_along(
    head: Member, at: float, why: str
) -> None:
    step = judge(READY, {HEAD_AT: seen(head)}, at)
    assert isinstance(step, Wait)
    assert why in step.why


def test_a_host_that_answers_and_does_not_start_its_rank_is_not_waited_for_for_ever() -> None:
    late = {HEAD_AT: seen(Member(0, G3, Stance.READY), at=1060.0, changed_at=1000.0)}
    assert not isinstance(judge(FOLLOWER, late, 1059.0), Begin)
    step = judge(FOLLOWER, late, 1060.0)
    assert isinstance(step, Begin)
    assert "has not started its rank for 60 s" in step.why


def test_two_hosts_of_one_member_do_not_start() -> None:
    own = replace(FOLLOWER, group=Group(G3), up=False, wanted=False, ready=True)
    step = judge(own, {HEAD_AT: seen(Member(1, G3, Stance.READY, sees=(1,)))}, 1001.0)
    assert isinstance(step, Wait)
    assert "says that it is member 1, too" in step.why
