# SPDX-License-Identifier: Apache-2.0
"""What decide is told.

Each observation carries the agent time `at` in seconds, and, where it is about one run of the
engine, that run's InvocationID, so that stale news can be told from new.

Agent time: seconds since the epoch taken once at start plus a monotonic clock, so that it never
jumps inside one process and still means something after a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum

from agent.core.cluster.group import PeerAnswered
from agent.core.diagnosis.facts import Facts
from agent.core.diagnosis.progress import Progress
from agent.core.diagnosis.reader import Diagnosis
from agent.core.doctor.finding import Finding
from agent.core.engine.metrics import Counters
from agent.core.failures.classes import EnginePhase
from agent.core.gpu.reading import Gpus
from agent.core.hub.cache import CacheFacts
from agent.core.hub.progress import FetchPlan, FetchProgress
from agent.core.record import dataclass
from agent.core.stages.book import NONE_SEEN, StagesSeen
from agent.core.stages.caches import Pruned
from agent.core.state.golden import Answer
from agent.core.state.process import EvidenceTaken, PortSeen
from agent.core.state.start.ahead import AheadSeen
from agent.core.state.steering.asked import OperatorAsked
from agent.core.state.telling.sending import Sent
from agent.core.state.unit import UnitFacts
from agent.core.verify.check import Check


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; `local_seconds` is the local time of day, in seconds since midnight."""

    at: float
    local_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class AgentStarted:
    """The agent (re)started; a new `boot_id` means that the host was rebooted.

    `reinstalled`: the package was removed, which stopped what served, and is installed again.
    `orderly`: the agent was asked to stop before the host went down, or it is not known.
    `booted_at`: the agent time at which the kernel's clock (CLOCK_BOOTTIME) was 0; 0 if unknown.
    """

    at: float
    boot_id: str
    reinstalled: bool = False
    orderly: bool = True
    booted_at: float = 0.0


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
    stages: StagesSeen = NONE_SEEN


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
    """A one-token request ended.

    `refused`: the front end let it not through, which is neither life nor death of the engine;
    `queue_full`: as too many wait. `missed` are the ranks that did not answer, of those asked.
    """

    at: float
    service: str
    invocation_id: str
    answered: bool
    seconds: float
    detail: str = ""
    refused: bool = False
    queue_full: bool = False
    missed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verified:
    """The list was run; `answered`: nothing shows that the model cannot do its work.

    `refused`: why nothing was let through. `answer`: to a fixed question, None amid other work;
    `adapters`: those of LoRA adapters by name.
    `first_token_seconds`: how long the smallest piece of work took, None where none was done.
    """

    at: float
    service: str
    invocation_id: str
    checks: tuple[Check, ...]
    answered: bool
    detail: str = ""
    refused: str = ""
    answer: Answer | None = None
    first_token_seconds: float | None = None
    adapters: Mapping[str, Answer] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CacheSeen:
    """The hub's cache was looked at for the service's model."""

    at: float
    service: str
    cache: CacheFacts


@dataclass(frozen=True, slots=True)
class FetchSeen:
    """The unit that fetches the model was read, and its log up to here; `at` is before that.

    `lines` counts what it said besides its progress; `diagnosis` is of the whole log once it ended.
    """

    at: float
    service: str
    unit: UnitFacts
    plan: FetchPlan | None = None
    progress: FetchProgress | None = None
    lines: int = 0
    diagnosis: Diagnosis | None = None


@dataclass(frozen=True, slots=True)
class ActionDone:
    """An effector finished `action_id`; `canceled` when somebody else's job took its place."""

    at: float
    service: str
    action_id: int
    succeeded: bool
    canceled: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True)
class GpusSeen:
    """NVML was asked, or could not be: then `gpus.driver.problem` says why."""

    at: float
    gpus: Gpus


class GpuOutcome(StrEnum):
    """What came of a change to a GPU's settings."""

    DONE = "done"
    NOT_SUPPORTED = "not-supported"
    NOT_PERMITTED = "not-permitted"
    NO_TOOL = "no-tool"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class GpuActionDone:
    """nvidia-smi ended, or was ended; whether its change is in force shows in GpusSeen."""

    at: float
    uuid: str
    action_id: int
    outcome: GpuOutcome
    detail: str = ""


@dataclass(frozen=True, slots=True)
class XidSeen:
    """The driver reported an error of a GPU. Times are in seconds since the epoch."""

    at: float
    logged_at: float
    """When it was logged; `at` is when it was read."""

    pci_bus_id: str
    """"domain:bus:device" in lower case, without the function."""

    code: int
    text: str
    name: str = ""
    """The catalogue's, as is `meaning`."""
    meaning: str = ""
    pid: int = 0
    """0 where the line names none."""
    recovery_action: int | None = None
    """NVML field 230's new value, from the text of an Xid 154."""

    earlier_boot: bool = False
    """It was logged before the host was booted."""

    from_nvml: bool = False
    """NVML told of it, which says no more than the code and comes up to 10 s late."""


@dataclass(frozen=True, slots=True)
class HostExamined:
    """The doctor's checks of the host were made; `pruned` is what was removed with them."""

    at: float
    findings: tuple[Finding, ...]
    pruned: tuple[Pruned, ...] = ()


HostObservation = (
    HostExamined
    | Tick
    | AgentStarted
    | ConfigLoaded
    | ConfigRefused
    | GpusSeen
    | GpuActionDone
    | XidSeen
    | OperatorAsked
    | Sent
)
ServiceObservation = (
    UnitSeen
    | LogProgress
    | LogConcluded
    | ApiSeen
    | CanaryDone
    | Verified
    | ActionDone
    | AheadSeen
    | EvidenceTaken
    | PortSeen
    | CacheSeen
    | FetchSeen
    | PeerAnswered
)
Observation = HostObservation | ServiceObservation
