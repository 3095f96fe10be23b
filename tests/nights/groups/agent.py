# SPDX-License-Identifier: Apache-2.0
"""llmagent on one host of a group: it asks the agents of the others, and is asked by them."""

from __future__ import annotations

import json
from functools import partial

from agent.core.cluster.group import PeerAnswered
from agent.core.cluster.member import FORMAT, Member, member_of
from agent.core.codec import encode
from agent.core.state.actions import Canary, Verify
from agent.core.state.host import HostState
from agent.core.state.observations import CanaryDone, Observation
from agent.core.state.phases import Phase
from agent.core.state.policy import HostPolicy
from agent.core.view.cluster_word import word_of
from tests.nights.agent import LlmAgent
from tests.nights.ground import ENGINE
from tests.nights.groups.cables import Cables
from tests.nights.groups.engines import HEAD
from tests.nights.groups.host import SERVICE, Rank

ASKS_SECONDS = 2.0
QUIET_SECONDS = 9.0
"""Where nothing changed the peers are asked as often as keeps their word fresh: nothing follows
from an answer between."""
TICKS = {Phase.STARTING: 5.0, Phase.EXAMINING: 1.0}
"""How often at least a tick comes in phases that end by what other hosts say."""
MISSING_SECONDS = 30.0
"""The same while a host is missed: the head's engines are asked one by one then."""


class Peer(LlmAgent):
    """Keeps one host's rank."""

    def __init__(self, world: Rank, cables: Cables) -> None:
        super().__init__(world)
        self.rank = world
        self.cables = cables
        self.peers: dict[str, Peer] = {}
        """The agents of the others, by the address they are asked at."""
        self._ask_at: dict[str, float] = {}
        self._shown: object = None
        self._word: tuple[HostState, Member] | None = None

    def begin(self) -> None:
        super().begin()
        self._ask_at.clear()
        for address in self.peers:
            self._ask_by(address, 0.5)

    # --- asking ---

    def _ask_by(self, address: str, seconds: float) -> None:
        """Ask a peer after so long, or before."""
        at = self.clock.now + seconds
        if address in self._ask_at and self._ask_at[address] <= at:
            return
        self._ask_at[address] = at
        self._soon(seconds, partial(self._ask, address, at))

    def _ask(self, address: str, planned: float) -> None:
        if self._ask_at.get(address) != planned:
            return
        del self._ask_at[address]
        self._ask_by(address, QUIET_SECONDS)
        now, peer = self.clock.now, self.peers[address]
        member = peer.word() if self.cables.opens(self.rank.number, peer.rank.number) else None
        if member is not None:
            self.observe(PeerAnswered(now, SERVICE, address, member))
            return
        is_open = self._engine_open(peer) if peer.rank.number == HEAD else None
        engines, number = self.rank.engines, peer.rank.number
        cut_off = self.rank.number == HEAD and engines.is_unacknowledged(number)
        self.observe(PeerAnswered(now, SERVICE, address, None, "no answer", is_open, cut_off))

    def _engine_open(self, peer: Peer) -> bool | None:
        """Tell whether the head's engine takes a connection; None where there is no answer.

        The port where a split model's ranks met is refused once the engine is gone. That of data
        parallelism is closed after the start, so that only an open port for requests tells.
        """
        reached = self.cables.opens(self.rank.number, peer.rank.number) and peer.rank.up
        if not reached:
            return None
        run = peer.rank.run
        if self.rank.engines.kind == "split":
            return run is not None
        return True if run is not None and run.ready else None

    def word(self) -> Member | None:
        """Return what the others read of this host's rank; None while nobody answers."""
        if not (self.up and self.rank.up):
            return None
        if self._word is not None and self._word[0] is self.state:
            return self._word[1]
        s = self.state.services.get(SERVICE)
        if s is None or s.group is None:
            return None
        policy = self.policies[SERVICE]
        cluster = policy.settings.cluster
        assert cluster is not None
        engines = dict.fromkeys(self.policies, ENGINE)
        host_policy = HostPolicy(self.policies, engines)
        own = word_of(s, host_policy, cluster, self.state.pause, self.clock.now)
        document = {
            "format": FORMAT,
            "host": f"host{self.rank.number}",
            "services": {SERVICE: encode(own)},
        }
        word = member_of(json.loads(json.dumps(document)), SERVICE)
        assert word is not None
        if (
            s.pause is None and self.state.pause is None
        ):  # what is left of a pause is told anew each time
            self._word = (self.state, word)
        return word

    def observe(self, observation: Observation) -> None:
        if isinstance(observation, CanaryDone):
            self._see_unit(SERVICE)  # as every five seconds
        super().observe(observation)
        s = self.state.services.get(SERVICE)
        if s is None or s.group is None:
            return
        live = s.group.live
        shown = (s.group.generation, s.phase, live.ready, live.sees, s.live.unit)
        if shown != self._shown:
            self._shown = shown
            for peer in self.peers.values():
                peer.hears_of(self)

    def hears_of(self, changed: Peer) -> None:
        """Ask this peer as soon as the daemon would have: its word is another one now."""
        for address, peer in self.peers.items():
            if peer is changed:
                self._ask_by(address, ASKS_SECONDS)

    # --- what only a group has ---

    def _next_tick(self, after: float) -> float:
        s = self.state.services.get(SERVICE)
        every = TICKS.get(s.phase) if s is not None else None
        if s is not None and s.group is not None and s.group.live.misses_somebody(after):
            every = min(every or MISSING_SECONDS, MISSING_SECONDS)
        at = super()._next_tick(after)
        return at if every is None else min(at, after + every)

    def _verify(self, action: Verify) -> None:
        self._requested(action.service, action.invocation_id)
        super()._verify(action)

    def _ask_for_one_token(self, action: Canary) -> None:
        self._requested(action.service, action.invocation_id)
        super()._ask_for_one_token(action)

    def _requested(self, service: str, invocation: str) -> None:
        run = self._present(service, invocation)
        if run is not None and run.ready:
            self.rank.engines.asked(run)

    # --- troubles ---

    def away(self, seconds: float) -> None:
        """The agent is gone, and comes back in a while: what runs goes on without it."""
        self.up = False
        self._life += 1
        life = self._life

        def again() -> None:
            if self._life == life and self.rank.up:
                self.begin()

        self.clock.after(seconds, again)

    def host_down(self) -> None:
        """The host is off: its boot starts the agent."""
        self.up = False
        self._life += 1
