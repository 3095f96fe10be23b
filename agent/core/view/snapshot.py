# SPDX-License-Identifier: Apache-2.0
"""The frozen view that status.json, `llmagent status` and the exporter show; holds no secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.core.codec import encode
from agent.core.doctor.finding import Finding
from agent.core.engine.metrics import Counters
from agent.core.verify.check import Check
from agent.core.view.gpus import GpusView, gpus_to_json
from agent.core.view.host import HostView

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
    """What vLLM printed of settings that serve, in GiB of one GPU; None where it did not."""

    settings: Mapping[str, SettingValue]
    weights_gib: float | None = None
    available_kv_gib: float | None = None
    cuda_graph_gib: float | None = None


@dataclass(frozen=True, slots=True)
class ServiceView:
    """One service. Times in seconds since the epoch, durations in seconds.

    `asked` are the configured settings, `running` those in force; `restarts` counts by failure
    class, `journal_lines` what was read since the agent started; `phase_seconds` is the total time
    in each phase up to `since_seconds`. `hang_detection_off` says why a hang of the engine could
    not be seen now, "" while it could.
    """

    name: str
    unit: str
    phase: str
    since_seconds: float
    reason: str
    url: str = ""
    engine_phase: str = ""
    progress: ProgressView | None = None
    fetch: FetchView | None = None
    main_pid: int = 0
    invocation_id: str = ""
    restarts: Mapping[str, int] = field(default_factory=dict)
    asked: Mapping[str, SettingValue] = field(default_factory=dict)
    running: Mapping[str, SettingValue] = field(default_factory=dict)
    overrides: Mapping[str, OverrideView] = field(default_factory=dict)
    verification: tuple[Check, ...] = ()
    failure: FailureView | None = None
    held: HeldView | None = None
    rolled_back: RolledBackView | None = None
    plan: PlanView | None = None
    proven: ProvenView | None = None
    start_seconds: float | None = None
    phase_seconds: Mapping[str, float] = field(default_factory=dict)
    drop_ins: tuple[str, ...] = ()
    pending_restart: tuple[str, ...] = ()
    journal_lines: int = 0
    journal_suppressed_lines: int = 0
    api: Counters | None = None
    hang_detection_off: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment; `phases` are all phases that a service can be in.

    `findings` are what the last check of the host found wrong. `gpus` is None on a host where no
    GPU was ever looked for, `host` where [metrics] host is off.
    """

    at_seconds: float
    version: str
    phases: tuple[str, ...] = ()
    config_valid: bool = True
    config_error: str = ""
    services: tuple[ServiceView, ...] = ()
    sources: tuple[SourceView, ...] = ()
    last_decision_seconds: float = 0.0
    findings: tuple[Finding, ...] = ()
    gpus: GpusView | None = None
    host: HostView | None = None


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
