# SPDX-License-Identifier: Apache-2.0
"""Holds what the agents of a group do against what is true of all hosts at once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from agent.core.cluster.judge import HEAD_AWAY_SECONDS, JOIN_SECONDS
from agent.core.state.phases import Phase
from tests.nights.groups.host import SERVICE
from tests.nights.promises import HOUR, BrokenPromiseError

if TYPE_CHECKING:
    from tests.nights.groups.agent import Peer
    from tests.nights.groups.night import Ground, GroupNight

MIXED_SECONDS = 120.0
"""How long ranks of two lives of the group may run side by side where the hosts see each other."""
ALONE_SECONDS = HEAD_AWAY_SECONDS + 2 * JOIN_SECONDS + 240.0
"""How long a rank may hold its GPUs while it is of no use, whatever is cut."""
STARTS_A_FAULT = 6
"""Starts of one host for each thing that happens and each that ends."""


class Overseer:
    """Looks at the whole ground every few seconds. Raises BrokenPromiseError."""

    def __init__(self, ground: Ground, agents: Sequence[Peer], night: GroupNight) -> None:
        self._ground = ground
        self._agents = agents
        self._night = night
        self._since: dict[Hashable, float] = {}

    @staticmethod
    def back_seconds(start_seconds: float) -> float:
        """Return how long all may take to serve again after the last fault is over.

        What runs of no use is found out, one start may be stuck by what was over meanwhile, the
        back-off of a start that failed may be an hour at most.
        """
        return ALONE_SECONDS + HOUR + 3 * start_seconds

    def look(self, last_happening: float) -> None:
        """Look at all hosts."""
        for one, other in combinations(self._agents, 2):
            self._are_one(one, other)
        for agent in self._agents:
            self._is_of_use(agent)
            self._starts_seldom(agent)
        self._is_back(last_happening)

    def _lasts(self, what: Hashable, *, so: bool) -> float:
        """Return for how long it has been so."""
        now = self._ground.clock.now
        if not so:
            self._since.pop(what, None)
            return 0.0
        return now - self._since.setdefault(what, now)

    def _are_one(self, one: Peer, other: Peer) -> None:
        engines, cables = self._ground.engines, self._ground.cables
        a, b = one.rank.number, other.rank.number
        runs = one.rank.run is not None and other.rank.run is not None
        apart = runs and engines.crew_of(a) is not engines.crew_of(b)
        sees = one.up and other.up and cables.opens(a, b) and cables.opens(b, a)
        seconds = self._lasts(("mixed", a, b), so=apart and sees)
        if seconds > MIXED_SECONDS:
            who = f"hosts {a} and {b}"
            raise BrokenPromiseError(f"mixed: {who} ran ranks of two lives for {seconds:.0f} s")

    def _is_of_use(self, agent: Peer) -> None:
        rank = agent.rank
        crew = self._ground.engines.crew_of(rank.number)
        useless = rank.run is not None and (crew is None or not self._ground.engines.is_whole(crew))
        seconds = self._lasts(("alone", rank.number), so=useless and agent.up and rank.up)
        if seconds > ALONE_SECONDS:
            raise BrokenPromiseError(
                f"alone: host {rank.number} held its GPUs for nothing for {seconds:.0f} s"
            )

    def _starts_seldom(self, agent: Peer) -> None:
        watch = agent.watcher.watches.get(SERVICE)
        happened = 1 + 2 * len(self._night.faults)
        if watch is not None and len(watch.starts) > STARTS_A_FAULT * happened:
            raise BrokenPromiseError(f"restarts: {len(watch.starts)} of host {agent.rank.number}")

    def _is_back(self, last_happening: float) -> None:
        ground = self._ground
        since = ground.clock.now - last_happening
        if since <= self.back_seconds(self._night.start_seconds):
            return
        if not self.all_serve():
            reasons = "; ".join(a.state.services[SERVICE].reason for a in self._agents)
            raise BrokenPromiseError(f"back: not {since:.0f} s after the last fault: {reasons}")

    def all_serve(self) -> bool:
        """Tell whether every request is answered, and every agent knows it."""
        states = [agent.state.services[SERVICE] for agent in self._agents if agent.up]
        serving = len(states) == len(self._agents) and all(s.phase is Phase.SERVING for s in states)
        return serving and self._ground.engines.serve()
