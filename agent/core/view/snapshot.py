# SPDX-License-Identifier: Apache-2.0
"""The frozen view that status.json, `llmagent status` and the exporter show, for everybody.

It holds states, settings, numbers, and lines of an engine's log only as the evidence of a failure
or of a setting. From those the values of tokens, keys, signatures and passwords are taken when the
line is read, and what quotes a client (see `agent.core.secrets`) before a failure is remembered;
a line that a client can have written is never evidence (see `agent.core.diagnosis.provenance`).
Whole lines are in the journal and in the history, which are root's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any

from agent.core.codec import encode
from agent.core.doctor.finding import Finding
from agent.core.engine.metrics import Counters
from agent.core.record import dataclass
from agent.core.verify.check import Check
from agent.core.view.gpus import GpusView, gpus_to_json
from agent.core.view.host import HostView
from agent.core.view.starting import AheadView, StageView
from agent.core.view.wishes import AskedView, NotifyView, PauseView

if TYPE_CHECKING:
    from agent.core.view.cluster import ClusterView  # loaded by who serves with other hosts

FORMAT = 1
"""Raised when a key of status.json changes its meaning or goes; new keys do not raise it."""

LEFT_OUT = frozenset({"gpus"})
"""Encoded by its own module, as what it holds has no plain shape in JSON."""

SettingValue = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class SourceView:
    """One source of observations; `last_seconds` since the epoch, 0 before the first."""

    name: str
    up: bool
    last_seconds: float = 0.0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ProgressView:
    """How far a start has come; `done` is a share 0..1 where there is one."""

    what: str
    done: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class FetchView:
    """How many bytes of the weights are in the hub's cache, while they are fetched."""

    done_bytes: int
    total_bytes: int
    bytes_per_second: float


@dataclass(frozen=True, slots=True)
class OverrideView:
    """A learned setting that runs in place of the configured one."""

    asked: SettingValue
    running: SettingValue
    since_seconds: float
    why: str


@dataclass(frozen=True, slots=True)
class FailureView:
    """The last failure: its class, the lines that show it, the remedy in one sentence."""

    failure_class: str
    evidence: tuple[str, ...]
    remedy: str
    at_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class HeldView:
    """Why nothing but a person can help, and what that person should do."""

    why: str
    what_to_do: str


@dataclass(frozen=True, slots=True)
class RolledBackView:
    """Since when and why the last known good settings run in place of those of agent.toml."""

    since_seconds: float
    why: str


@dataclass(frozen=True, slots=True)
class PlanView:
    """What the planner said before the first start of the settings in force."""

    verdict: str
    reason: str
    advice: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProvenView:
    """What vLLM printed of settings that serve, in GiB of one GPU; None where it did not.

    `at_seconds` is when, in Unix time, 0 where it was not noted. `compiled_graphs` is "compiled"
    or "from the cache", "" where it was not told: a start that compiles leaves less to the cache.
    """

    settings: Mapping[str, SettingValue]
    weights_gib: float | None = None
    available_kv_gib: float | None = None
    cuda_graph_gib: float | None = None
    at_seconds: float = 0.0
    compiled_graphs: str = ""


@dataclass(frozen=True, slots=True)
class ServiceView:
    """One service. Times are in seconds since the epoch, durations in seconds."""

    name: str
    unit: str
    phase: str
    """What the agent is about with the service."""

    since_seconds: float
    """Since when it is in this phase."""

    reason: str
    """Why it is, in one sentence."""

    url: str = ""
    """Where clients reach it."""

    engine_phase: str = ""
    """How far the start of vLLM has come, by its log."""

    progress: ProgressView | None = None
    fetch: FetchView | None = None
    """None while no weights are fetched."""

    main_pid: int = 0
    """0 while no process runs."""

    invocation_id: str = ""
    """systemd's id of the present run."""

    restarts: Mapping[str, int] = field(default_factory=dict)
    """How often it was restarted, by the class of the failure that was answered."""

    asked: Mapping[str, SettingValue] = field(default_factory=dict)
    """The settings of agent.toml."""

    running: Mapping[str, SettingValue] = field(default_factory=dict)
    """The settings in force, with what recovery has learned."""

    overrides: Mapping[str, OverrideView] = field(default_factory=dict)
    """Those of `running` that recovery has learned."""

    verification: tuple[Check, ...] = ()
    """What the evidence says of each item that was asked for."""

    failure: FailureView | None = None
    held: HeldView | None = None
    """None while the agent can go on without a person."""

    rolled_back: RolledBackView | None = None
    """None while the settings of agent.toml run."""

    plan: PlanView | None = None
    proven: ProvenView | None = None
    """What was measured of the last settings that served; None before the first."""

    start_seconds: float | None = None
    """How long the last start took until the service was ready."""

    stage: StageView | None = None
    """What the start that is under way is about; None while none is."""

    start_stage_seconds: Mapping[str, float] = field(default_factory=dict)
    """The seconds of each stage of the last start that ended well."""

    read_ahead: AheadView | None = None
    """What was read into memory before a start; None where nothing ever was."""

    phase_seconds: Mapping[str, float] = field(default_factory=dict)
    """The total time in each phase up to `since_seconds`."""

    drop_ins: tuple[str, ...] = ()
    """Paths of the drop-ins of its unit."""

    pending_restart: tuple[str, ...] = ()
    """Settings that differ from those of the present run until the next start."""

    journal_lines: int = 0
    """Lines of its journal that were read since the agent started."""

    journal_suppressed_lines: int = 0
    """Lines of it that journald dropped, as it says itself."""

    api: Counters | None = None
    """The counters of vLLM's /metrics; None while it was not read."""

    paused: PauseView | None = None
    """Its own pause or the host's, whichever ends later; None while llmagent acts."""

    planned_restart: AskedView | None = None
    drain: AskedView | None = None
    cluster: ClusterView | None = None
    """None of a service that one host serves."""

    hang_detection_off: str = ""
    """Why a hang of the engine could not be seen now, "" while it could."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment."""

    at_seconds: float
    """That moment, in seconds since the epoch."""

    version: str
    """The version of llmagent."""

    phases: tuple[str, ...] = ()
    """All phases that a service can be in."""

    config_valid: bool = True
    config_error: str = ""
    """Why agent.toml, as it is on disk, is refused; "" while it is valid."""

    services: tuple[ServiceView, ...] = ()
    sources: tuple[SourceView, ...] = ()
    last_decision_seconds: float = 0.0
    """When the agent last decided something, in seconds since the epoch."""

    findings: tuple[Finding, ...] = ()
    """What the last check of the host found wrong."""

    gpus: GpusView | None = None
    """None on a host where no GPU was ever looked for."""

    host: HostView | None = None
    """None where [metrics] host is off."""

    paused: PauseView | None = None
    """A pause of the whole host."""

    notify: NotifyView | None = None
    """None where nobody is told of anything."""


def to_json(snapshot: Snapshot) -> dict[str, Any]:
    """Return status.json: `format`, then the fields of Snapshot under their names.

    `services` is an object by name, the rest of each under the names of ServiceView, except that
    the class of `failure` is called `class`, as in `llmagent diagnose`. `gpus` is a list, `driver`
    and `gpus_sampled_seconds` stand beside it; all three are absent where no GPU was looked for.
    """
    document: dict[str, Any] = {"format": FORMAT, **encode(snapshot, leave_out=LEFT_OUT)}
    if snapshot.gpus is not None:
        document |= gpus_to_json(snapshot.gpus)
    document["services"] = {service["name"]: service for service in document["services"]}
    for service in document["services"].values():
        if service["failure"] is not None:
            service["failure"] = {
                "class": service["failure"].pop("failure_class"),
                **service["failure"],
            }
    return document
