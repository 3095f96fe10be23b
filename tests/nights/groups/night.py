# SPDX-License-Identifier: Apache-2.0
"""One night of a group from a seed, under llmagent on every host or under systemd alone."""

from __future__ import annotations

import random
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from agent.core.settings.cluster import ClusterSettings
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import ServicePolicy, Settings
from tests.nights.clockwork import EVENING, Clockwork
from tests.nights.groups.agent import Peer
from tests.nights.groups.cables import Cables
from tests.nights.groups.engines import HEAD, Engines, Kind
from tests.nights.groups.faults import Fault, drawn
from tests.nights.groups.happenings import Happenings
from tests.nights.groups.host import SERVICE, Rank
from tests.nights.groups.overseer import Overseer
from tests.nights.ledger import Ledger
from tests.nights.promises import Named
from tests.nights.rivals import SystemdAlone

LOOK_SECONDS: Final = 15.0
SLICE_SECONDS: Final = 60.0
AFTER_SECONDS: Final = 900.0
SIZES: Final = (2, 2, 2, 2, 3, 3, 4, 8, 16)
HOURS: Final = {8: 0.5, 16: 0.25}
"""Of large groups, whose hosts ask each other a hundred times as often."""


@dataclass(frozen=True, slots=True)
class GroupNight:
    """All that a night is made from; the same night is the same to the second whoever lives it.

    `closes`: the death of a rank is seen by those that compute with it, as with gloo.
    """

    seed: int
    hosts: int
    kind: Kind
    closes: bool
    hours: float
    start_seconds: float
    load: float
    faults: tuple[Fault, ...]

    @staticmethod
    def of(seed: int) -> GroupNight:
        """Draw the night; large groups have short ones."""
        rng = random.Random(seed)
        hosts = SIZES[seed % len(SIZES)]
        kind: Kind = rng.choice(["split", "replicas"])
        hours = HOURS.get(hosts, 2.0)
        closes = rng.random() < 0.5
        start_seconds = rng.choice([45.0, 60.0, 150.0])
        load = rng.choice([30.0, 30.0, 0.0])
        faults = drawn(rng, hosts, hours)
        return GroupNight(seed, hosts, kind, closes, hours, start_seconds, load, faults)

    @property
    def last(self) -> float:
        """When the last fault is over, in seconds of the night."""
        return max((fault.at + fault.seconds for fault in self.faults), default=0.0)

    @property
    def seconds(self) -> float:
        """How long it is accounted for."""
        return max(self.hours * 3600, self.last) + AFTER_SECONDS


def policy_of(night: GroupNight, number: int) -> ServicePolicy:
    """Return what a host of the group is configured with."""
    peers = tuple(address_of(other) for other in range(night.hosts) if other != number)
    asked = Settings(SERVICE, "/srv/m", gpu_memory_utilization=0.9, max_model_len=4096)
    if night.kind == "split":
        asked = replace(asked, tensor_parallel_size=night.hosts)
        cluster = ClusterSettings(
            peers, nnodes=night.hosts, node_rank=number, master_addr="10.99.0.1"
        )
    else:
        asked = replace(asked, data_parallel_size=night.hosts)
        cluster = ClusterSettings(
            peers,
            data_parallel_address="10.99.0.1",
            data_parallel_size_local=1,
            data_parallel_start_rank=number,
        )
    recovery = Recovery(max_starts_per_hour=20)
    return ServicePolicy(replace(asked, cluster=cluster), recovery=recovery)


def address_of(number: int) -> str:
    """Return where the agent of a host is asked."""
    return f"http://10.99.0.{number + 1}:9836"


class Ground:
    """The hosts of a night, their engines and cables, and one account of whether they serve."""

    def __init__(self, night: GroupNight, tell: Callable[[float, str], None] | None) -> None:
        self.clock = Clockwork(EVENING)
        self.cables = Cables()
        self.engines = Engines(night.kind, self.cables, closes=night.closes)
        self.ledger = Ledger()
        self.blame = "first start"
        self.ranks = [
            Rank(
                self.clock,
                number,
                policy_of(night, number),
                self.engines,
                self.book,
                start_seconds=night.start_seconds,
                load=night.load if number == HEAD else 0.0,
            )
            for number in range(night.hosts)
        ]
        for rank in self.ranks:
            rank.tell = None if tell is None else partial(_named, tell, f"host {rank.number}")

    def book(self) -> None:
        """Account for the time up to now."""
        serves = len(self.engines.ranks) > 1 and self.engines.serve()
        self.ledger.book(SERVICE, self.clock.now, wanted=True, serves=serves, blame=self.blame)


def _named(tell: Callable[[float, str], None], who: str, now: float, what: str) -> None:
    tell(now, f"{who}: {what}")


def under_llmagent(night: GroupNight, tell: Callable[[float, str], None] | None = None) -> Ledger:
    """Live through the night with llmagent on every host; raises BrokenPromiseError."""
    ground = Ground(night, tell)
    agents = [Peer(rank, ground.cables) for rank in ground.ranks]
    for agent in agents:
        agent.rank.keeper = agent
        others = (other for other in agents if other is not agent)
        agent.peers = {address_of(other.rank.number): other for other in others}
    happenings = Happenings(ground, agents, night.faults)
    overseer = Overseer(ground, agents, night)

    def look() -> None:
        overseer.look(happenings.last_at)
        ground.clock.after(LOOK_SECONDS, look)

    for number, agent in enumerate(agents):
        ground.clock.after(3.0 * number, agent.begin)
    ground.clock.after(LOOK_SECONDS, look)
    with Named(night.seed, lambda: (ground.clock.now - EVENING) / 3600):
        return _lived(ground, night, overseer)


def _lived(ground: Ground, night: GroupNight, overseer: Overseer) -> Ledger:
    """Let time pass until all are back for good, which the overseer sets a bound to."""
    clock, end = ground.clock, EVENING + night.seconds
    clock.run_until(EVENING + night.last)
    account = None
    while not overseer.all_serve():
        clock.run_until(
            min(end, clock.now + SLICE_SECONDS) if account is None else clock.now + SLICE_SECONDS
        )
        if account is None and clock.now >= end:
            ground.book()
            account = deepcopy(ground.ledger)
    if account is None:
        clock.now = end  # nothing happens any more
        ground.book()
    return account or ground.ledger


def under_systemd(night: GroupNight, restart_seconds: float) -> Ledger:
    """Live through the night with a unit with `Restart=always` on every host."""
    ground = Ground(night, None)
    keepers = [SystemdAlone(rank) for rank in ground.ranks]
    for rank, keeper in zip(ground.ranks, keepers, strict=True):
        rank.restart_seconds = restart_seconds
        rank.start_limit = (5, 10.0)
        rank.keeper = keeper
    Happenings(ground, (), night.faults)
    for keeper in keepers:
        keeper.begin()
    ground.clock.run_until(EVENING + night.seconds)
    ground.book()
    return ground.ledger
