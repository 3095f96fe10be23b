# SPDX-License-Identifier: Apache-2.0
"""Hosts that serve together in virtual time: each with its own agent, engine and links.

The engine's ranks meet as vLLM's do (RUN 0.32, two hosts): each waits for all others for ever; once
together they serve until one ends; then the head's next request hangs, and a rank that only
computes stays as it is, silent, for ever. Nothing but a new start of all of them heals that.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from agent.core.cluster.group import PeerAnswered
from agent.core.cluster.member import FORMAT, Member, member_of
from agent.core.codec import encode
from agent.core.failures.classes import EnginePhase
from agent.core.settings.cluster import ClusterSettings
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.actions import Action, Stop
from agent.core.state.observations import Tick
from agent.core.state.phases import Phase
from agent.core.state.steering.asked import Answer, OperatorAsked
from agent.core.state.steering.requests import Request
from agent.core.view.cluster_word import word_of
from tests.given.simulated_engine import computed
from tests.given.simulated_host import Run, SimulatedHost

SERVICE = "vllm"
ASK_SECONDS = 2.0


@dataclass
class RankHost(SimulatedHost):
    """One host of a group: `rank` 0 is the head."""

    rank: int = 0
    agent_is_up: bool = True
    host_is_up: bool = True
    cohort: int | None = None
    """Which ranks its own has met; None: none yet."""
    broken: bool = False
    """One of those is gone, or cut off."""

    spins: bool = False
    """A processor is at work while it waits for another rank, or up to `step_until` for itself."""

    step_until: float = 0.0

    def _begin(self, service: str, settings: Settings) -> None:
        super()._begin(service, settings)
        self.runs[service].ready_at = math.inf
        self.cohort, self.broken = None, False

    @property
    def run(self) -> Run | None:
        return self.runs.get(SERVICE)

    def dies_alone_and_systemd_starts_it(self) -> None:
        """What Restart=always does while the agent is away."""
        self._begin(SERVICE, self.runs[SERVICE].settings)

    @property
    def phase(self) -> Phase:
        return self.state.services[SERVICE].phase

    @property
    def generation(self) -> int:
        group = self.state.services[SERVICE].group
        return 0 if group is None else group.generation.number

    def word(self) -> Member:
        """What this host tells the others, over the form that it has between them."""
        s = self.state.services[SERVICE]
        cluster = self.policies[SERVICE].settings.cluster
        assert cluster is not None
        own = word_of(s, self.policy, cluster, self.state.pause, self.now)
        document = {
            "format": FORMAT,
            "host": f"gpu-{self.rank}",
            "services": {SERVICE: encode(own)},
        }
        member = member_of(json.loads(json.dumps(document)), SERVICE)
        assert member is not None
        return member

    def told(self, kind: str) -> list[str]:
        return [line.message for line in self.history if line.kind == kind]

    def _engines_move(self, step: float) -> None:
        run = self.run
        if run is None:
            return
        if run.settings.headless:
            if self.now < run.ready_at and self.cohort is not None:
                self._see_log(SERVICE, run, EnginePhase.LOADING)
            return
        run.hung = self.broken or self.now < self.step_until
        super()._engines_move(step)

    def tick(self) -> None:
        """One second of this host, as far as it is up."""
        if not self.host_is_up:
            return
        if self.agent_is_up:
            if self.spins and self.run is not None and self.run.hung:
                self.units |= computed(self.units, (SERVICE,), 1.0)
            self.see_units()
            self._engines_move(1.0)
            self.observe(Tick(self.now, self.now % 86400))
            self.carry_out()


def address(rank: int) -> str:
    return f"http://gpu-{rank}:9836"


@dataclass
class Hosts:
    """All hosts of one group, and which of them can ask which."""

    size: int = 2
    recovery: Recovery = field(default_factory=Recovery)
    start_takes: float = 40.0
    maximum: dict[str, int] = field(default_factory=dict)
    """Settings that all hosts have beside those of the group."""
    open_engines: bool = False
    """The cable that is cut is that of the agents: the engines reach each other."""
    cut: set[tuple[int, int]] = field(default_factory=set)
    """(who asks, whom): questions that do not arrive, as their answers."""

    clocks_apart: float = 0.0
    """What the clock of each host is ahead of that of the one before it, in seconds."""
    now: float = 1_000_000.0
    hosts: list[RankHost] = field(default_factory=list)
    _cohorts: int = 0

    def __post_init__(self) -> None:
        for rank in range(self.size):
            cluster = ClusterSettings(
                peers=tuple(address(other) for other in range(self.size) if other != rank),
                host_ip=f"10.0.0.{rank + 1}",
                nnodes=self.size,
                node_rank=rank,
                master_addr="10.0.0.1",
            )
            settings = replace(
                Settings(SERVICE, "/srv/m", tensor_parallel_size=self.size, cluster=cluster),
                **self.maximum,  # type: ignore[arg-type]
            )
            host = RankHost({SERVICE: ServicePolicy(settings, recovery=self.recovery)}, rank=rank)
            self.hosts.append(host)
            host.now = self.clock_of(rank)
            host.agent_starts()

    def clock_of(self, rank: int) -> float:
        return self.now + rank * self.clocks_apart

    @property
    def head(self) -> RankHost:
        return self.hosts[0]

    @property
    def phases(self) -> list[Phase]:
        return [host.phase for host in self.hosts]

    @property
    def starts(self) -> list[int]:
        return [len(host.starts) for host in self.hosts]

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.second()

    def second(self) -> None:
        self.now += 1.0
        self._meet()
        for host in self.hosts:
            host.now = self.clock_of(host.rank)
            host.tick()
        if self.now % ASK_SECONDS == 0:
            self._ask()

    def all_serve_within(self, seconds: float) -> bool:
        end = self.now + seconds
        while self.now < end:
            if all(phase is Phase.SERVING for phase in self.phases):
                return True
            self.second()
        return all(phase is Phase.SERVING for phase in self.phases)

    def _meet(self) -> None:
        """The engine's own rendezvous."""
        waiting = [host.run for host in self.hosts if host.cohort is None]
        runs = [run for run in waiting if run is not None]
        if len(runs) == self.size:
            self._cohorts += 1
            for host, run in zip(self.hosts, runs, strict=True):
                host.cohort = self._cohorts
                run.ready_at = self.clock_of(host.rank) + self.start_takes
        for host in self.hosts:
            if host.run is not None and host.cohort is not None:
                host.broken = any(
                    other.run is None or other.cohort != host.cohort or self._apart(host, other)
                    for other in self.hosts
                )
                if host.broken and self.clock_of(host.rank) < host.run.ready_at:
                    host.run.ready_at = math.inf

    def _apart(self, one: RankHost, other: RankHost) -> bool:
        """Tell whether what one sends the other is not acknowledged: the head has requests."""
        cut = bool({(one.rank, other.rank), (other.rank, one.rank)} & self.cut)
        return not other.host_is_up or (cut and not self.open_engines)

    def _ask(self) -> None:
        up = [host for host in self.hosts if host.host_is_up and host.agent_is_up]
        words = {host.rank: host.word() for host in up}
        for host in up:
            for other in self.hosts:
                if other is host:
                    continue
                reached = (host.rank, other.rank) not in self.cut and other.host_is_up
                word = words.get(other.rank) if reached else None
                is_open = None
                if word is None and other.rank == 0:
                    linked = reached or (self.open_engines and other.host_is_up)
                    # A host that is off is silent, as one behind a cut cable is.
                    is_open = other.run is not None if linked else None
                why = "" if word is not None else "no answer in time"
                peer = address(other.rank)
                sends = host.rank == 0 and host.run is not None and host.run.hung
                cut_off = word is None and sends and self._apart(host, other)
                host.observe(PeerAnswered(host.now, SERVICE, peer, word, why, is_open, cut_off))
                host.carry_out()

    # --- what happens to them ---

    def agent_dies(self, rank: int) -> None:
        self.hosts[rank].agent_is_up = False
        self.hosts[rank]._pending.clear()

    def agent_returns(self, rank: int) -> None:
        self.hosts[rank].agent_is_up = True
        self.hosts[rank].agent_starts()

    def power_off(self, rank: int) -> None:
        host = self.hosts[rank]
        host.host_is_up = False
        host.runs.clear()
        host.units.clear()

    def power_on(self, rank: int) -> None:
        host = self.hosts[rank]
        host.host_is_up, host.agent_is_up = True, True
        host.now = self.clock_of(rank)
        host.reboots()

    def configure(self, rank: int, recovery: Recovery | None = None, **settings: object) -> None:
        """Give one host another agent.toml."""
        host = self.hosts[rank]
        policy = host.policies[SERVICE]
        host.policies[SERVICE] = replace(
            policy,
            settings=replace(policy.settings, **settings),  # type: ignore[arg-type]
            recovery=recovery or policy.recovery,
        )
        host.reload()

    def asks(self, rank: int, request: Request) -> str:
        """Return what the agent of a host answers to its operator."""
        host = self.hosts[rank]
        decision = host.observe(OperatorAsked(host.now, 1, request, "root", host.now % 86400))
        answers = [action for action in decision.actions if isinstance(action, Answer)]
        host.carry_out()
        return answers[0].message

    def noting_stops(
        self, host: RankHost, ended: list[tuple[int, float]]
    ) -> Callable[[Action], None]:
        def note(action: Action) -> None:
            if isinstance(action, Stop):
                ended.append((host.rank, self.now))

        return note

    def all_start_again_within(self, seconds: float) -> bool:
        before, end = self.starts, self.now + seconds
        while self.now < end:
            self.second()
            if all(new > old for new, old in zip(self.starts, before, strict=True)):
                return True
        return False

    def serves_alone(self) -> bool:
        """Whether some rank that runs has met ranks that are gone, or none while others have."""
        return any(host.broken and host.run is not None for host in self.hosts)
