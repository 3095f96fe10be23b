# SPDX-License-Identifier: Apache-2.0
"""What decide wants done. A decision is recorded before its actions are carried out."""

from __future__ import annotations

from agent.core.diagnosis.facts import Facts
from agent.core.engine.install import Engine
from agent.core.failures.classes import FailureClass
from agent.core.record import dataclass
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.phases import Then
from agent.core.state.steering.asked import Answer
from agent.core.state.telling.sending import Ping, Send


@dataclass(frozen=True, slots=True)
class WriteUnit:
    """Bring the unit file on disk to these settings; nothing is started or stopped.

    `engine` is the vLLM that it was decided for: what is written is what was decided.
    """

    service: str
    settings: Settings
    engine: Engine
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Start:
    """Write the unit when it differs, make systemd load it, and (re)start it."""

    service: str
    action_id: int
    settings: Settings
    engine: Engine
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
class Asked:
    """A start or a stop that systemd was asked for; recorded before it is asked.

    `failure` is what the run is ended for, and `why` the sentence that tells it.
    """

    action_id: int
    at: float
    stop: bool
    then: Then = Then.RECOVER
    failure: FailureClass | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Reap:
    """Kill what is left in the control group of a unit that is down."""

    service: str


@dataclass(frozen=True, slots=True)
class EndRun:
    """Kill what is left of a run whose engine is gone: it is in the way of the next one."""

    service: str
    invocation_id: str


@dataclass(frozen=True, slots=True)
class TakeEvidence:
    """Look at the processes of a run that is about to be killed.

    `python` is its interpreter; `dump_directory` is where vLLM's watchdog writes, "" for nowhere.
    """

    service: str
    invocation_id: str
    python: str
    dump_directory: str = ""


@dataclass(frozen=True, slots=True)
class LookAtPort:
    """Find out who listens on a TCP port of this host."""

    service: str
    port: int


@dataclass(frozen=True, slots=True)
class FollowLog:
    """Read the log of a run that somebody else started, from its first line on."""

    service: str
    invocation_id: str


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
    """Ask for the smallest piece of the model's work: one token, or one embedding.

    `engines` are the data-parallel ranks that are asked one by one, by vLLM's label "engine";
    none: whichever takes the request. `first_engine` is the label of the first that this front
    end has: a request names an engine by its place among those (vLLM 0.11..0.33, core_client.py and
    input_processor.py), and a host of a group with hybrid balancing does not begin with 0.
    """

    service: str
    invocation_id: str
    running: Settings
    deadline_seconds: float
    engines: tuple[str, ...] = ()
    first_engine: int = 0


@dataclass(frozen=True, slots=True)
class LookAtCache:
    """See whether the model is complete in the hub's cache, and how much room there is."""

    service: str
    settings: Settings


@dataclass(frozen=True, slots=True)
class Fetch:
    """Have the unit that fetches the model run; one that runs already is left alone.

    `repair`: remove the model's files that are not as the hub has them first.
    """

    service: str
    action_id: int
    settings: Settings
    engine: Engine
    repair: bool


@dataclass(frozen=True, slots=True)
class StopFetch:
    """Stop the unit that fetches the model."""

    service: str


@dataclass(frozen=True, slots=True)
class ListFiles:
    """Note which files this run's start has read."""

    service: str
    invocation_id: str
    running: Settings
    engine: Engine


@dataclass(frozen=True, slots=True)
class ReadAhead:
    """Have the listed files read into memory; `begun`: they are read already, tell what came."""

    service: str
    begun: bool = False


@dataclass(frozen=True, slots=True)
class EndReading:
    """End the reading of any service's files: an engine loads."""

    service: str


@dataclass(frozen=True, slots=True)
class ForgetFiles:
    """Remove the list of what a start reads."""

    service: str


@dataclass(frozen=True, slots=True)
class SetPowerLimit:
    """Set a GPU's power limit."""

    uuid: str
    action_id: int
    watts: float


@dataclass(frozen=True, slots=True)
class LockClocks:
    """Hold a GPU's clocks between two values in MHz; None lets go of them."""

    uuid: str
    action_id: int
    mhz: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class SetPersistenceMode:
    """Turn a GPU's persistence mode on."""

    uuid: str
    action_id: int


@dataclass(frozen=True, slots=True)
class Reexecute:
    """Replace this process by a new one of the same agent; the services go on."""

    why: str


AheadAction = ListFiles | ReadAhead | ForgetFiles
FetchAction = LookAtCache | Fetch | StopFetch
OwnAction = (
    WriteUnit
    | Start
    | Stop
    | Reap
    | EndRun
    | TakeEvidence
    | LookAtPort
    | FollowLog
    | ReadLog
    | Verify
    | Canary
    | EndReading
    | AheadAction
)
"""Those of one service's own threads."""

ServiceAction = OwnAction | FetchAction
GpuAction = SetPowerLimit | LockClocks | SetPersistenceMode
NotifyAction = Send | Ping
Action = ServiceAction | GpuAction | Reexecute | Answer | NotifyAction
