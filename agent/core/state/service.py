# SPDX-License-Identifier: Apache-2.0
"""What is remembered of each service, and what a decision is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from agent.core.diagnosis.facts import Facts
from agent.core.diagnosis.reader import Progress
from agent.core.engine.metrics import Counters
from agent.core.failures.classes import EnginePhase, FailureClass
from agent.core.hub.progress import FetchLive, FetchState
from agent.core.remedy.case import Bound
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.engine_life import EngineLife
from agent.core.state.learned import LastGood, NightTrial, Override, Planned, Proven, RolledBack
from agent.core.state.phases import Phase, Then
from agent.core.state.unit import UnitFacts
from agent.core.verify.check import Check

NO_FETCH = FetchState()
NO_LIVE_FETCH = FetchLive()
ONE_ENGINE: Mapping[str, EngineLife] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Asked:
    """What the agent asked systemd for; recorded before it asks."""

    action_id: int
    at: float
    stop: bool
    then: Then = Then.RECOVER
    failure: FailureClass | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """The last failure: its class, the lines that show it, and what was done about it."""

    at: float
    failure: FailureClass
    engine_phase: EnginePhase
    evidence: tuple[str, ...]
    remedy: str


@dataclass(frozen=True, slots=True)
class Died:
    """How a run ended that nobody here asked to end; `phase` is what the agent was about then."""

    at: float
    phase: Phase
    result: str
    exec_main_code: int
    exec_main_status: int


@dataclass(frozen=True, slots=True)
class Live:
    """What is only true of this process's view of the present run; never stored.

    `tokens_per_second` is the rate of generation while it is busy, the last seen and the usual one.
    `xid` is the class of the last Xid at this run's GPU that asks for more than a note, and
    `suspect` holds until a one-token request shows that the engine lives.
    `log_tells_ready`: the log was read up to the server's "ready", so `facts` are all there.
    `canary_amid_work`: there was work before the last one-token request. `unjudged` says why no
    request can show whether the engine lives, "" while one can. `engines` are the ranks of a
    data-parallel service, each judged by itself; `canary_engines` those that are asked now.
    `busy_at` is when the run was last seen to compute, `down_at` when the unit was first seen down,
    `waits` what a start that is due waits for, `gpu_pids` the run's processes on its cards;
    `reap_since`, `reap_at` and `undead` are of what was left of it in its control group: killed
    since, killed last, and whether that is vain.
    """

    unit: UnitFacts | None = None
    engine_phase: EnginePhase = EnginePhase.STARTING
    progress: Progress | None = None
    activity: int = 0
    activity_at: float = 0.0
    facts: Facts | None = None
    counters: Counters | None = None
    counters_at: float = 0.0
    tokens_at: float = 0.0
    canary_at: float = 0.0
    canary_pending: bool = False
    canary_misses: int = 0
    canary_seconds: float = 0.0
    canary_amid_work: bool = False
    canary_engines: tuple[str, ...] = ()
    verify_at: float = 0.0
    verify_pending: bool = False
    tokens_per_second: float | None = None
    usual_tokens_per_second: float | None = None
    rates_seen: int = 0
    xid: FailureClass | None = None
    xid_at: float = 0.0
    suspect: bool = False
    down_at: float = 0.0
    waits: str = ""
    gpu_pids: frozenset[int] = frozenset()
    reap_since: float = 0.0
    reap_at: float = 0.0
    undead: bool = False
    log_tells_ready: bool = False
    cpu_seconds: float | None = None
    cpu_at: float = 0.0
    busy_at: float = 0.0
    fetch: FetchLive = NO_LIVE_FETCH
    unjudged: str = ""
    engines: Mapping[str, EngineLife] = field(default_factory=lambda: ONE_ENGINE)


NO_OVERRIDES: Mapping[str, Override] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ServiceState:
    """All that is remembered of one service; `foreign` as in UnitFacts.

    `was_stopped`: the operator had stopped it before the unit became somebody else's.

    `configured` are the settings as last read from agent.toml, `running` those of the present or
    last run. `attempts` counts the tries without a change since the service last settled, `spent`
    the changes of settings per failure class since then; `recent_starts` are the times of the last
    hour's starts, `faults` those of the last hour's failures. `held_for_card` is the UUID of the
    GPU that must be well or cool first; `held_for_driver`: until the driver's parts agree again;
    `held_for_plan`: held as its plan cannot fit. `planned` is what the planner said of settings
    that never ran, `proven` what vLLM printed of those that serve. `restart_wanted` is why it is
    to be restarted as soon as a start can succeed. `learned_for` is what `overrides` depend on;
    `probes` are trials to undo one, by setting. `refetch` says why the model's files must be mended
    before the next start, "" when they need not.
    """

    name: str
    phase: Phase = Phase.WAITING
    since: float = 0.0
    reason: str = "configured"
    invocation_id: str = ""
    asked: Asked | None = None
    configured: Settings | None = None
    running: Settings | None = None
    retry_at: float = 0.0
    learned_for: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[str, Override] = field(default_factory=lambda: NO_OVERRIDES)
    probes: Mapping[str, NightTrial] = field(default_factory=dict)
    last_good: LastGood | None = None
    rolled_back: RolledBack | None = None
    refetch: str = ""
    faults: Mapping[FailureClass, tuple[float, ...]] = field(default_factory=dict)
    bounds: Mapping[str, Bound] = field(default_factory=dict)
    spent: Mapping[FailureClass, int] = field(default_factory=dict)
    attempts: int = 0
    recent_starts: tuple[float, ...] = ()
    settled: bool = False
    died: Died | None = None
    failure: Failure | None = None
    what_to_do: str = ""
    foreign: str = ""
    was_stopped: bool = False
    held_for_card: str = ""
    held_for_driver: bool = False
    held_for_plan: bool = False
    planned: Planned | None = None
    proven: Proven | None = None
    restart_wanted: str = ""
    checks: tuple[Check, ...] = ()
    restarts: Mapping[FailureClass, int] = field(default_factory=dict)
    started_at: float = 0.0
    start_seconds: float | None = None
    phase_seconds: Mapping[Phase, float] = field(default_factory=dict)
    last_down_at: float = 0.0
    fetch: FetchState = NO_FETCH
    live: Live = field(default_factory=Live)

    def in_force(self, configured: ServicePolicy) -> ServicePolicy:
        """Return what is asked of the service: agent.toml's, or what was good before it."""
        good = self.rolled_back
        if good is None:
            return configured
        return replace(configured, settings=good.settings, expect=good.expect)

    def enter(self, phase: Phase, at: float, reason: str) -> ServiceState:
        """Return the state in another phase, the time in the old one accounted for."""
        spent = max(0.0, at - self.since) if self.since else 0.0
        seconds = {**self.phase_seconds, self.phase: self.phase_seconds.get(self.phase, 0) + spent}
        return replace(self, phase=phase, since=at, reason=reason, phase_seconds=seconds)
