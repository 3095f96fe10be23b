# SPDX-License-Identifier: Apache-2.0
"""What the agent knows of each service, and what vLLM counts, as metric families."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.core import Metric

from agent.core.engine.metrics import Counters
from agent.core.verify.check import Verdict
from agent.core.view.snapshot import ServiceView, SettingValue, Snapshot
from agent.daemon.metrics.families import (
    Row,
    Value,
    counter,
    counters,
    each,
    families,
    gauge,
    gauges,
)

LABELS = ("service",)


def service_families(snapshot: Snapshot) -> Iterator[Metric]:
    """Yield every family; those of vLLM's counters only have services whose API was read."""
    services = snapshot.services
    phased = [((s.name,), (s, snapshot)) for s in services]
    live = [((s.name,), s.api) for s in services if s.api is not None]
    yield from families(PHASES, phased, LABELS)
    yield from families(SERVICE, [((s.name,), s) for s in services], LABELS)
    yield from families(WORK, live, LABELS)


def _seconds_in(service: ServiceView, phase: str, now: float) -> float:
    before = service.phase_seconds.get(phase, 0.0)
    if phase != service.phase:
        return before
    return before + max(0.0, now - service.since_seconds)


def _numbers(settings: Mapping[str, SettingValue]) -> Iterator[Value]:
    for name, value in settings.items():
        if isinstance(value, (int, float)):
            yield (name,), value


PHASES: tuple[Row[tuple[ServiceView, Snapshot]], ...] = (
    gauges(
        "llmagent_service_phase",
        "What the agent is about with a service: 1 for the phase that it is in.",
        ("phase",),
        lambda of: [((phase,), of[0].phase == phase) for phase in of[1].phases],
    ),
    gauge(
        "llmagent_service_phase_start_timestamp_seconds",
        "When a service came into the phase that it is in.",
        lambda of: of[0].since_seconds,
    ),
    counters(
        "llmagent_service_phase_seconds",
        "Time that a service has spent in each phase.",
        ("phase",),
        lambda of: [
            ((phase,), _seconds_in(of[0], phase, of[1].at_seconds)) for phase in of[1].phases
        ],
    ),
)
"""Of a service and the snapshot that it stands in, which knows all phases and the time."""

SERVICE: tuple[Row[ServiceView], ...] = (
    counters(
        "llmagent_service_restarts",
        "Restarts by the class of the failure that they answered.",
        ("class",),
        lambda s: each(s.restarts.items()),
    ),
    counter(
        "llmagent_service_journal_lines",
        "Lines of a service's journal that were read.",
        lambda s: s.journal_lines,
    ),
    counter(
        "llmagent_service_journal_suppressed_lines",
        "Lines of a service that journald dropped, as it says itself.",
        lambda s: s.journal_suppressed_lines,
    ),
    gauge(
        "llmagent_service_fetched_bytes",
        "Bytes of a model's weights that are in the hub's cache, while it is fetched.",
        lambda s: None if s.fetch is None else s.fetch.done_bytes,
    ),
    gauge(
        "llmagent_service_fetch_size_bytes",
        "Bytes of all weights of the model that is fetched.",
        lambda s: None if s.fetch is None else s.fetch.total_bytes,
    ),
    gauge(
        "llmagent_service_hang_detection",
        "Whether a hang of a serving engine would be seen; 0 while its front end refuses requests.",
        lambda s: not s.hang_detection_off if s.phase == "serving" else None,
    ),
    gauge(
        "llmagent_service_held",
        "Whether a service is stopped until a person helps.",
        lambda s: s.held is not None,
    ),
    gauge(
        "llmagent_service_paused",
        "Whether an operator has told llmagent to watch a service and not to act.",
        lambda s: s.paused is not None,
    ),
    gauge(
        "llmagent_service_planned_restart_timestamp_seconds",
        "When a restart that an operator has planned is due at the earliest.",
        lambda s: None if s.planned_restart is None else s.planned_restart.due_seconds,
    ),
    gauge(
        "llmagent_service_rolled_back",
        "Whether the last known good settings run in place of those of agent.toml.",
        lambda s: s.rolled_back is not None,
    ),
    gauges(
        "llmagent_service_last_failure_timestamp_seconds",
        "When a service last failed, by the class of that failure.",
        ("class",),
        lambda s: [((s.failure.failure_class,), s.failure.at_seconds)] if s.failure else (),
    ),
    gauge(
        "llmagent_service_learned_settings",
        "Settings that the agent runs with other values than agent.toml has.",
        lambda s: len(s.overrides),
    ),
    gauge(
        "llmagent_service_start_duration_seconds",
        "How long the last start took until the service was ready.",
        lambda s: s.start_seconds,
    ),
    gauges(
        "llmagent_service_start_stage_seconds",
        "How long each stage of the last start took that ended well.",
        ("stage",),
        lambda s: each(s.start_stage_seconds.items()),
    ),
    gauge(
        "llmagent_service_read_ahead_resident_ratio",
        "Share of what a start reads that was in memory when it was last read ahead.",
        lambda s: None if s.read_ahead is None else s.read_ahead.resident_ratio,
    ),
    gauge(
        "llmagent_service_read_ahead_bytes",
        "Bytes that were last read into memory ahead of a start.",
        lambda s: None if s.read_ahead is None else s.read_ahead.read_bytes,
    ),
    gauges(
        "llmagent_service_setting",
        "A numeric setting in force, in vLLM's unit; switches are 0 or 1.",
        ("setting",),
        lambda s: _numbers(s.running),
    ),
    gauges(
        "llmagent_service_setting_asked",
        "A numeric setting as agent.toml has it, in vLLM's unit; switches are 0 or 1.",
        ("setting",),
        lambda s: _numbers(s.asked),
    ),
    gauges(
        "llmagent_service_verification",
        "What the evidence says of each item that was asked for: 1 for its verdict.",
        ("item", "verdict"),
        lambda s: [
            ((check.item, verdict.value), check.verdict is verdict)
            for check in s.verification
            for verdict in Verdict
        ],
    ),
)

WORK: tuple[Row[Counters], ...] = (
    gauge(
        "llmagent_service_requests_running",
        "Requests that the engine works on.",
        lambda api: api.running,
    ),
    gauge(
        "llmagent_service_requests_waiting",
        "Requests that wait for the engine.",
        lambda api: api.waiting,
    ),
    gauge(
        "llmagent_service_kv_cache_usage_ratio",
        "Share of the KV cache in use, of the fullest engine.",
        lambda api: api.kv_cache_usage,
    ),
    counter(
        "llmagent_service_prompt_tokens",
        "Prompt tokens since the engine started.",
        lambda api: api.prompt_tokens,
    ),
    counter(
        "llmagent_service_generation_tokens",
        "Generated tokens since the engine started.",
        lambda api: api.generation_tokens,
    ),
    counter(
        "llmagent_service_requests_success",
        "Requests that were answered since the engine started.",
        lambda api: api.requests_success,
    ),
    counter(
        "llmagent_service_first_tokens",
        "Requests that have had their first token since the engine started.",
        lambda api: api.first_tokens,
    ),
    counter(
        "llmagent_service_first_token_seconds",
        "How long those waited for their first token in all.",
        lambda api: api.first_token_seconds,
    ),
    counter(
        "llmagent_service_preemptions",
        "Requests that were put back for want of KV cache since the engine started.",
        lambda api: api.preemptions,
    ),
    counter(
        "llmagent_service_prefix_cache_queries",
        "Prompt tokens that were looked up in the prefix cache since the engine started.",
        lambda api: api.prefix_cache_queries,
    ),
    counter(
        "llmagent_service_prefix_cache_hits",
        "Prompt tokens that were found in the prefix cache since the engine started.",
        lambda api: api.prefix_cache_hits,
    ),
)
