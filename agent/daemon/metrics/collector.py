# SPDX-License-Identifier: Apache-2.0
"""The agent's metrics: the snapshot as Prometheus metric families, nothing else is asked."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from agent.core.engine.metrics import Counters
from agent.core.verify.check import Verdict
from agent.core.view.snapshot import ServiceView, SettingValue, Snapshot
from agent.daemon.metrics.families import counter, gauge, info
from agent.daemon.metrics.gpus import gpu_families
from agent.daemon.metrics.host import host_families


class SnapshotCollector(Collector):
    """Shows the latest snapshot; a service's numbers that are not known have no sample."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot

    def describe(self) -> Iterable[Metric]:
        """Return no metric in advance: the registry must not scrape to learn the names."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every family of the snapshot."""
        snapshot = self._snapshot()
        yield from _agent(snapshot)
        yield from _findings(snapshot)
        yield from _service_phases(snapshot)
        yield from _service_settings(snapshot.services)
        yield from _service_work(snapshot.services)
        units = frozenset(service.unit for service in snapshot.services)
        yield from gpu_families(snapshot.gpus, units)
        yield from host_families(snapshot.host)


def _agent(snapshot: Snapshot) -> Iterator[Metric]:
    version = {"version": snapshot.version, "python": platform.python_version()}
    yield info("llmagent_build", "The llmagent that runs.", [version])
    yield gauge(
        "llmagent_config_valid",
        "Whether agent.toml, as it is on disk since the last start or reload, is valid.",
        (),
        [((), snapshot.config_valid)],
    )
    yield gauge(
        "llmagent_last_decision_timestamp_seconds",
        "When the agent last decided something.",
        (),
        [((), snapshot.last_decision_seconds)],
    )
    yield gauge(
        "llmagent_source_up",
        "Whether a source of observations works.",
        ("source",),
        [((source.name,), source.up) for source in snapshot.sources],
    )
    yield gauge(
        "llmagent_source_last_timestamp_seconds",
        "When a source of observations last worked.",
        ("source",),
        [((source.name,), source.last_seconds) for source in snapshot.sources],
    )


def _findings(snapshot: Snapshot) -> Iterator[Metric]:
    yield gauge(
        "llmagent_doctor_finding",
        "1 for each check of the last examination of the host that found something wrong.",
        ("check", "service", "result"),
        [((f.check, f.service, f.result.value), True) for f in snapshot.findings],
    )


def _service_phases(snapshot: Snapshot) -> Iterator[Metric]:
    services = snapshot.services
    yield gauge(
        "llmagent_service_phase",
        "What the agent is about with a service: 1 for the phase that it is in.",
        ("service", "phase"),
        [((s.name, phase), s.phase == phase) for s in services for phase in snapshot.phases],
    )
    yield gauge(
        "llmagent_service_phase_start_timestamp_seconds",
        "When a service came into the phase that it is in.",
        ("service",),
        [((s.name,), s.since_seconds) for s in services],
    )
    yield counter(
        "llmagent_service_phase_seconds",
        "Time that a service has spent in each phase.",
        ("service", "phase"),
        [
            ((s.name, phase), _seconds_in(s, phase, snapshot.at_seconds))
            for s in services
            for phase in snapshot.phases
        ],
    )
    yield counter(
        "llmagent_service_restarts",
        "Restarts by the class of the failure that they answered.",
        ("service", "class"),
        [((s.name, kind), count) for s in services for kind, count in s.restarts.items()],
    )
    yield counter(
        "llmagent_service_journal_lines",
        "Lines of a service's journal that were read.",
        ("service",),
        [((s.name,), s.journal_lines) for s in services],
    )
    yield counter(
        "llmagent_service_journal_suppressed_lines",
        "Lines of a service that journald dropped, as it says itself.",
        ("service",),
        [((s.name,), s.journal_suppressed_lines) for s in services],
    )
    fetches = [(s.name, s.fetch) for s in services if s.fetch is not None]
    yield gauge(
        "llmagent_service_fetched_bytes",
        "Bytes of a model's weights that are in the hub's cache, while it is fetched.",
        ("service",),
        [((name,), fetch.done_bytes) for name, fetch in fetches],
    )
    yield gauge(
        "llmagent_service_fetch_size_bytes",
        "Bytes of all weights of the model that is fetched.",
        ("service",),
        [((name,), fetch.total_bytes) for name, fetch in fetches],
    )
    yield gauge(
        "llmagent_service_hang_detection",
        "Whether a hang of a serving engine would be seen; 0 while its front end refuses requests.",
        ("service",),
        [((s.name,), not s.hang_detection_off) for s in services if s.phase == "serving"],
    )
    yield gauge(
        "llmagent_service_held",
        "Whether a service is stopped until a person helps.",
        ("service",),
        [((s.name,), s.held is not None) for s in services],
    )
    yield gauge(
        "llmagent_service_rolled_back",
        "Whether the last known good settings run in place of those of agent.toml.",
        ("service",),
        [((s.name,), s.rolled_back is not None) for s in services],
    )
    yield gauge(
        "llmagent_service_last_failure_timestamp_seconds",
        "When a service last failed, by the class of that failure.",
        ("service", "class"),
        [
            ((s.name, s.failure.failure_class), s.failure.at_seconds)
            for s in services
            if s.failure is not None
        ],
    )
    yield gauge(
        "llmagent_service_learned_settings",
        "Settings that the agent runs with other values than agent.toml has.",
        ("service",),
        [((s.name,), len(s.overrides)) for s in services],
    )
    yield gauge(
        "llmagent_service_start_duration_seconds",
        "How long the last start took until the service was ready.",
        ("service",),
        [((s.name,), s.start_seconds) for s in services if s.start_seconds is not None],
    )


def _service_settings(services: tuple[ServiceView, ...]) -> Iterator[Metric]:
    labels = ("service", "setting")
    yield gauge(
        "llmagent_service_setting",
        "A numeric setting in force, in vLLM's unit; switches are 0 or 1.",
        labels,
        [((s.name, name), value) for s in services for name, value in _numbers(s.running)],
    )
    yield gauge(
        "llmagent_service_setting_asked",
        "A numeric setting as agent.toml has it, in vLLM's unit; switches are 0 or 1.",
        labels,
        [((s.name, name), value) for s in services for name, value in _numbers(s.asked)],
    )
    yield gauge(
        "llmagent_service_verification",
        "What the evidence says of each item that was asked for: 1 for its verdict.",
        ("service", "item", "verdict"),
        [
            ((s.name, check.item, verdict.value), check.verdict is verdict)
            for s in services
            for check in s.verification
            for verdict in Verdict
        ],
    )


def _service_work(services: tuple[ServiceView, ...]) -> Iterator[Metric]:
    live = [(s.name, s.api) for s in services if s.api is not None]
    label = ("service",)
    yield gauge(
        "llmagent_service_requests_running",
        "Requests that the engine works on.",
        label,
        [((name,), api.running) for name, api in live],
    )
    yield gauge(
        "llmagent_service_requests_waiting",
        "Requests that wait for the engine.",
        label,
        [((name,), api.waiting) for name, api in live],
    )
    yield gauge(
        "llmagent_service_kv_cache_usage_ratio",
        "Share of the KV cache in use, of the fullest engine.",
        label,
        [((name,), api.kv_cache_usage) for name, api in live if api.kv_cache_usage is not None],
    )
    for name, text, value_of in WORK:
        values = [((service,), value_of(api)) for service, api in live]
        yield counter(name, text, label, [(key, v) for key, v in values if v is not None])


WORK: tuple[tuple[str, str, Callable[[Counters], float | None]], ...] = (
    (
        "llmagent_service_prompt_tokens",
        "Prompt tokens since the engine started.",
        lambda api: api.prompt_tokens,
    ),
    (
        "llmagent_service_generation_tokens",
        "Generated tokens since the engine started.",
        lambda api: api.generation_tokens,
    ),
    (
        "llmagent_service_requests_success",
        "Requests that were answered since the engine started.",
        lambda api: api.requests_success,
    ),
    (
        "llmagent_service_preemptions",
        "Requests that were put back for want of KV cache since the engine started.",
        lambda api: api.preemptions,
    ),
    (
        "llmagent_service_prefix_cache_queries",
        "Prompt tokens that were looked up in the prefix cache since the engine started.",
        lambda api: api.prefix_cache_queries,
    ),
    (
        "llmagent_service_prefix_cache_hits",
        "Prompt tokens that were found in the prefix cache since the engine started.",
        lambda api: api.prefix_cache_hits,
    ),
)


def _seconds_in(service: ServiceView, phase: str, now: float) -> float:
    before = service.phase_seconds.get(phase, 0.0)
    if phase != service.phase:
        return before
    return before + max(0.0, now - service.since_seconds)


def _numbers(settings: Mapping[str, SettingValue]) -> Iterator[tuple[str, float]]:
    for name, value in settings.items():
        if isinstance(value, (int, float)):
            yield name, value
