# SPDX-License-Identifier: Apache-2.0
"""The project's vocabulary: what is observed, what is remembered, what is done, and why.

Times are "agent time": seconds since the epoch taken once at start plus a monotonic clock, so that
they never jump inside one process and still mean something after a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

from agent.core.diagnosis import Diagnosis, Progress
from agent.core.engine import Engine
from agent.core.facts import Facts
from agent.core.failures import EnginePhase, FailureClass
from agent.core.remedies import Bound
from agent.core.settings import ServicePolicy, Settings, Tunable
from agent.core.verify import Check
from agent.core.vllm_metrics import Counters


class Phase(StrEnum):
    """What the agent is about with one service."""

    WAITING = "waiting"
    STARTING = "starting"
    VERIFYING = "verifying"
    SERVING = "serving"
    EXAMINING = "examining"
    STOPPING = "stopping"
    STOPPED = "stopped"
    HELD = "held"


class Then(StrEnum):
    """What follows a stop or kill that the agent asked for."""

    WAIT = "wait"
    HOLD = "hold"
    RECOVER = "recover"


@dataclass(frozen=True, slots=True)
class UnitFacts:
    """A systemd unit as D-Bus shows it; `command_line` is the main process's argv."""

    active_state: str
    sub_state: str
    result: str = "success"
    exec_main_code: int = 0
    exec_main_status: int = 0
    main_pid: int = 0
    invocation_id: str = ""
    n_restarts: int = 0
    load_state: str = "loaded"
    command_line: tuple[str, ...] = ()
    drop_ins: tuple[str, ...] = ()

    @property
    def pending_restart(self) -> bool:
        """Whether systemd's own Restart= timer is running: the main process died by itself."""
        return self.sub_state == "auto-restart"

    @property
    def running(self) -> bool:
        """Whether a main process is there or being started."""
        return self.active_state in {"active", "activating", "reloading"} and (
            not self.pending_restart
        )

    @property
    def down(self) -> bool:
        """Whether no process is left and nothing is being stopped."""
        return self.pending_restart or self.active_state in {"inactive", "failed"}


# --- observations ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""

    at: float


@dataclass(frozen=True, slots=True)
class AgentStarted:
    """The agent (re)started; a new `boot_id` means that the host was rebooted."""

    at: float
    boot_id: str


@dataclass(frozen=True, slots=True)
class ConfigLoaded:
    """A valid configuration came into force; `reload` when the operator asked for it.

    `changes` are sentences that say what differs from the one before.
    """

    at: float
    reload: bool
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ConfigRefused:
    """A broken configuration was refused; the old one stays in force."""

    at: float
    mistakes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UnitSeen:
    """The unit's state was read."""

    at: float
    service: str
    unit: UnitFacts


@dataclass(frozen=True, slots=True)
class LogProgress:
    """The engine's log moved on; `activity` rises with each sign of start-up progress."""

    at: float
    service: str
    invocation_id: str
    engine_phase: EnginePhase
    activity: int
    progress: Progress | None
    facts: Facts


@dataclass(frozen=True, slots=True)
class LogConcluded:
    """The log of a run that ended was read to its end."""

    at: float
    service: str
    invocation_id: str
    diagnosis: Diagnosis


@dataclass(frozen=True, slots=True)
class ApiSeen:
    """vLLM's HTTP side was asked; `counters` is None when /metrics gave nothing in time."""

    at: float
    service: str
    invocation_id: str
    healthy: bool
    counters: Counters | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class CanaryDone:
    """A one-token request ended."""

    at: float
    service: str
    invocation_id: str
    answered: bool
    seconds: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Verified:
    """The verification list was run; `answered` tells whether the model completed a request."""

    at: float
    service: str
    invocation_id: str
    checks: tuple[Check, ...]
    answered: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ActionDone:
    """An effector finished `action_id`; `canceled` when somebody else's job took its place."""

    at: float
    service: str
    action_id: int
    succeeded: bool
    canceled: bool = False
    detail: str = ""


ServiceObservation = (
    UnitSeen | LogProgress | LogConcluded | ApiSeen | CanaryDone | Verified | ActionDone
)
Observation = Tick | AgentStarted | ConfigLoaded | ConfigRefused | ServiceObservation


# --- actions --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WriteUnit:
    """Bring the unit file on disk to these settings; nothing is started or stopped."""

    service: str
    settings: Settings
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Start:
    """Write the unit when it differs, make systemd load it, and (re)start it."""

    service: str
    action_id: int
    settings: Settings
    notes: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop the unit; `kill` sends SIGKILL to all its processes instead of asking."""

    service: str
    action_id: int
    kill: bool
    reason: str


@dataclass(frozen=True, slots=True)
class ReadLog:
    """Read what the dead run still wrote and conclude from it."""

    service: str
    invocation_id: str


@dataclass(frozen=True, slots=True)
class Verify:
    """Run the verification list against the live service."""

    service: str
    invocation_id: str
    policy: ServicePolicy
    running: Settings
    facts: Facts | None


@dataclass(frozen=True, slots=True)
class Canary:
    """Ask for one token."""

    service: str
    invocation_id: str
    running: Settings
    deadline_seconds: float


Action = WriteUnit | Start | Stop | ReadLog | Verify | Canary


# --- state ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Asked:
    """What the agent asked systemd for; recorded before it asks."""

    action_id: int
    at: float
    stop: bool
    then: Then = Then.RECOVER
    failure: FailureClass | None = None


@dataclass(frozen=True, slots=True)
class Override:
    """A learned setting: runs instead of the configured value."""

    asked: Tunable | None
    running: Tunable
    since: float
    why: str


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
    """What is only true of this process's view of the present run; never stored."""

    unit: UnitFacts | None = None
    engine_phase: EnginePhase = EnginePhase.STARTING
    progress: Progress | None = None
    activity: int = 0
    activity_at: float = 0.0
    facts: Facts | None = None
    counters: Counters | None = None
    tokens_at: float = 0.0
    canary_at: float = 0.0
    canary_pending: bool = False
    canary_misses: int = 0
    verify_at: float = 0.0
    verify_pending: bool = False


NO_OVERRIDES: Mapping[str, Override] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ServiceState:
    """All that is remembered of one service.

    `configured` are the settings as last read from agent.toml, `running` those of the present or
    last run. `attempts` counts failures since the service last settled, `spent` the changes of
    settings per failure class since then; `recent_starts` are the times of the last hour's starts.
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
    learn_key: str = ""
    overrides: Mapping[str, Override] = field(default_factory=lambda: NO_OVERRIDES)
    bounds: Mapping[str, Bound] = field(default_factory=dict)
    spent: Mapping[FailureClass, int] = field(default_factory=dict)
    attempts: int = 0
    recent_starts: tuple[float, ...] = ()
    settled: bool = False
    died: Died | None = None
    failure: Failure | None = None
    what_to_do: str = ""
    checks: tuple[Check, ...] = ()
    restarts: Mapping[FailureClass, int] = field(default_factory=dict)
    started_at: float = 0.0
    start_seconds: float | None = None
    phase_seconds: Mapping[Phase, float] = field(default_factory=dict)
    last_down_at: float = 0.0
    live: Live = field(default_factory=Live)

    def enter(self, phase: Phase, at: float, reason: str) -> ServiceState:
        """Return the state in another phase, the time in the old one accounted for."""
        spent = max(0.0, at - self.since) if self.since else 0.0
        seconds = {**self.phase_seconds, self.phase: self.phase_seconds.get(self.phase, 0) + spent}
        return replace(self, phase=phase, since=at, reason=reason, phase_seconds=seconds)


@dataclass(frozen=True, slots=True)
class HostState:
    """The state of everything the agent looks after."""

    boot_id: str = ""
    next_action_id: int = 1
    services: Mapping[str, ServiceState] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HostPolicy:
    """The configuration in force: each service's policy and the engine that is installed for it."""

    services: Mapping[str, ServicePolicy]
    engines: Mapping[str, Engine]


@dataclass(frozen=True, slots=True)
class News:
    """One line of the history: what happened or was decided, with its reason."""

    service: str
    kind: str
    message: str
    data: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """The next state, what to do now, and what to tell."""

    state: HostState
    actions: tuple[Action, ...] = ()
    news: tuple[News, ...] = ()
