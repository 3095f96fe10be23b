# SPDX-License-Identifier: Apache-2.0
"""What is remembered of each service, and what a decision is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from types import MappingProxyType

from agent.core.cluster.group import Group
from agent.core.diagnosis.facts import Facts
from agent.core.diagnosis.progress import Progress
from agent.core.engine.metrics import Counters
from agent.core.failures.classes import EnginePhase, FailureClass
from agent.core.hub.progress import FetchLive, FetchState
from agent.core.record import dataclass
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.stages.book import NONE_SEEN, StagesSeen
from agent.core.stages.stage import Stage
from agent.core.state.actions import Asked
from agent.core.state.engine_life import EngineLife
from agent.core.state.golden import Answer, Golden
from agent.core.state.held import Held
from agent.core.state.learned import NOTHING_LEARNED, LastGood, Learned, Planned, Proven, RolledBack
from agent.core.state.outage import Outage, after_phase
from agent.core.state.phases import Phase
from agent.core.state.start.ahead import NOTHING_LISTED, Ahead
from agent.core.state.steering.wishes import Drain, Pause, PlannedRestart
from agent.core.state.unit import UnitFacts
from agent.core.verify.check import Check

NO_FETCH = FetchState()
NO_LIVE_FETCH = FetchLive()
ONE_ENGINE: Mapping[str, EngineLife] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Failure:
    """The last failure: its class, the lines that show it, and what was done about it.

    `place` is the exception and where it was thrown, "" where no exception is known.
    """

    at: float
    failure: FailureClass
    engine_phase: EnginePhase
    evidence: tuple[str, ...]
    remedy: str
    place: str = ""


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
    """What is only true of this process's view of the present run; never stored."""

    unit: UnitFacts | None = None
    engine_phase: EnginePhase = EnginePhase.STARTING
    progress: Progress | None = None
    activity: int = 0
    activity_at: float = 0.0
    facts: Facts | None = None
    """What vLLM has printed of itself so far."""

    counters: Counters | None = None
    counters_at: float = 0.0
    tokens_at: float = 0.0
    """When a token was last seen to be made."""

    canary_at: float = 0.0
    """When the last one-token request was sent."""

    canary_pending: bool = False
    canary_misses: int = 0
    canary_seconds: float = 0.0
    canary_amid_work: bool = False
    """There was work before the last one-token request."""

    canary_engines: tuple[str, ...] = ()
    """Those of `engines` that are asked now."""

    verify_at: float = 0.0
    verify_pending: bool = False
    tokens_per_second: float | None = None
    """The rate of generation when it was last seen busy."""

    usual_tokens_per_second: float | None = None
    """The usual rate of generation while it is busy."""

    rates_seen: int = 0
    xid: FailureClass | None = None
    """The last Xid at this run's GPU that asks for more than a note."""

    xid_at: float = 0.0
    suspect: bool = False
    """An Xid was seen, and no one-token request has shown since that the engine lives."""

    down_at: float = 0.0
    """When the unit was first seen down."""

    blocked_by: str = ""
    """What a start that is due waits for."""

    gone_at: float = 0.0
    """When the log was seen to say that the engine is gone."""

    ended: bool = False
    """What was left of the run then was killed."""

    clears: bool = False
    """It waited for what the last run had left."""

    gpu_pids: frozenset[int] = frozenset()
    """The run's processes on its cards."""

    reap_since: float = 0.0
    """Since when left-over processes of the last run, in its control group, are killed."""

    reap_at: float = 0.0
    """When they were last killed."""

    undead: bool = False
    """SIGKILL has had no effect on them."""

    log_tells_ready: bool = False
    ready_at: float = 0.0
    """The log was read up to the server's "ready", so `facts` are all there; when it was."""

    stages: StagesSeen = NONE_SEEN
    """Where the seconds of the start went, by its log."""

    stage_at: float = 0.0
    """When its present stage was first seen."""

    cpu_seconds: float | None = None
    cpu_at: float = 0.0
    busy_at: float = 0.0
    """When the run was last seen to compute."""

    fetch: FetchLive = NO_LIVE_FETCH
    linked_at: float = 0.0
    """When the link of the unit, which somebody had removed, was last put back."""

    is_older: bool = False
    """The run had begun before the agent took note of it: when, is not known."""

    unjudged: str = ""
    """Why no request can show whether the engine lives; "" while one can."""

    left_alone: str = ""
    """What would have been done to the service in its pause, as it was told; "" for nothing."""

    doubted_answer: Answer | None = None
    doubted_adapters: Mapping[str, Answer] = field(default_factory=dict)
    """What is not as before, of the model and of LoRA adapters, until it was given twice."""

    engines: Mapping[str, EngineLife] = field(default_factory=lambda: ONE_ENGINE)
    """The ranks of a data-parallel service, each judged by itself."""


@dataclass(frozen=True, slots=True)
class ServiceState:
    """All that is remembered of one service. Times are in agent time; 0 is never."""

    name: str
    phase: Phase = Phase.WAITING
    since: float = 0.0
    """When the phase began."""

    reason: str = "configured"
    """Why the service is in its phase: the sentence of the last decision."""

    invocation_id: str = ""
    reached_run: str = ""
    """The last run whose HTTP side answered."""

    asked: Asked | None = None
    configured: Settings | None = None
    """The settings as last read from agent.toml."""

    running: Settings | None = None
    """The settings of the present run, else of the last one."""

    retry_at: float = 0.0
    """When a service that waits is to be started."""

    learned: Learned = NOTHING_LEARNED
    learned_elsewhere: Mapping[str, Learned] = field(default_factory=dict)
    """By the set of cards: what was learned on others, for when they are back."""

    last_good: LastGood | None = None
    rolled_back: RolledBack | None = None
    faults: Mapping[FailureClass, tuple[float, ...]] = field(default_factory=dict)
    """The times of the last hour's failures."""

    recent_starts: tuple[float, ...] = ()
    """The times of the last hour's starts."""

    settled: bool = False
    """It has served for long enough that its tries before are forgotten."""

    died: Died | None = None
    failure: Failure | None = None
    foreign: str = ""
    """As in UnitFacts."""

    was_stopped: bool = False
    """The operator had stopped it before the unit became somebody else's."""

    held: Held | None = None
    """Why it may not run; it counts from the decision to stop until the service starts."""

    planned: Planned | None = None
    """What the planner said of settings that never ran."""

    proven: Proven | None = None
    """What vLLM printed of those that serve."""

    restart_wanted: str = ""
    """Why it is to be restarted as soon as a start can succeed; "" when it is not."""

    pause: Pause | None = None
    """An operator wants it left alone for a while."""

    planned_restart: PlannedRestart | None = None
    drain: Drain | None = None
    golden: Golden | None = None
    """How the model and its LoRA adapters answer a fixed question."""

    golden_elsewhere: tuple[Golden, ...] = ()
    """How it did with another model, engine or cards, the latest first."""

    ahead: Ahead = NOTHING_LISTED
    """What a start reads, and that it was read ahead."""

    checks: tuple[Check, ...] = ()
    restarts: Mapping[FailureClass, int] = field(default_factory=dict)
    started_at: float = 0.0
    start_seconds: float | None = None
    start_stage_seconds: Mapping[Stage, float] = field(default_factory=dict)
    """The seconds of each stage of the last start that ended well."""

    outage: Outage | None = None
    """The time without service that goes on; None while it serves or is not to."""

    phase_seconds: Mapping[Phase, float] = field(default_factory=dict)
    last_down_at: float = 0.0
    fetch: FetchState = NO_FETCH
    group: Group | None = None
    """The own part among the hosts that serve it together; None where this one serves it alone."""

    live: Live = field(default_factory=Live)

    @property
    def commit(self) -> str:
        """The commit of the model that the next start loads from the hub's cache, "" unknown."""
        return self.live.fetch.cache.commit if self.live.fetch.cache is not None else ""

    @property
    def what_to_do(self) -> str:
        """What a person must do about it; "" for nothing."""
        return self.held.what_to_do if self.held is not None else ""

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
        clears, gone_at = self.live.clears, self.live.gone_at
        outage = after_phase(
            self.outage, self.phase, phase, spent, at, cleared=clears, gone_at=gone_at
        )
        entered = replace(self, phase=phase, since=at, reason=reason, phase_seconds=seconds)
        return entered if outage is self.outage else replace(entered, outage=outage)
