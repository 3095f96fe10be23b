# SPDX-License-Identifier: Apache-2.0
"""The agent's metrics: the snapshot as Prometheus metric families, nothing else is asked."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from agent.core.view.snapshot import Snapshot
from agent.daemon.metrics.families import Row, counter, families, gauge, gauges, info
from agent.daemon.metrics.gpus import gpu_families
from agent.daemon.metrics.host import host_families
from agent.daemon.metrics.services import service_families


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
        version = {"version": snapshot.version, "python": platform.python_version()}
        yield info("llmagent_build", "The llmagent that runs.", [version])
        yield from families(AGENT, [((), snapshot)])
        yield from service_families(snapshot)
        units = frozenset(service.unit for service in snapshot.services)
        grouped = [service.name for service in snapshot.services if service.cluster is not None]
        if grouped:
            from agent.core.settings.cluster import ray_unit_of
            from agent.daemon.metrics.cluster import cluster_families  # for who has one: memory

            yield from cluster_families(snapshot)
            units = units.union(map(ray_unit_of, grouped))
        yield from gpu_families(snapshot.gpus, units)
        yield from host_families(snapshot.host)


AGENT: tuple[Row[Snapshot], ...] = (
    gauge(
        "llmagent_config_valid",
        "Whether agent.toml, as it is on disk since the last start or reload, is valid.",
        lambda snapshot: snapshot.config_valid,
    ),
    gauge(
        "llmagent_last_decision_timestamp_seconds",
        "When the agent last decided something.",
        lambda snapshot: snapshot.last_decision_seconds,
    ),
    gauges(
        "llmagent_source_up",
        "Whether a source of observations works.",
        ("source",),
        lambda snapshot: [((source.name,), source.up) for source in snapshot.sources],
    ),
    gauges(
        "llmagent_source_last_timestamp_seconds",
        "When a source of observations last worked.",
        ("source",),
        lambda snapshot: [((source.name,), source.last_seconds) for source in snapshot.sources],
    ),
    gauge(
        "llmagent_notify_unsent_messages",
        "Messages to people that wait or were tried in vain; absent where nobody is told.",
        lambda snapshot: None if snapshot.notify is None else snapshot.notify.unsent,
    ),
    gauge(
        "llmagent_notify_failing",
        "Whether the last message, or the last ping of the dead-man's switch, did not get through.",
        lambda snapshot: (
            None
            if snapshot.notify is None
            else bool(snapshot.notify.problem or snapshot.notify.heartbeat_problem)
        ),
    ),
    gauge(
        "llmagent_notify_last_sent_timestamp_seconds",
        "When a message last reached everybody, 0 for never.",
        lambda snapshot: None if snapshot.notify is None else snapshot.notify.last_sent_seconds,
    ),
    counter(
        "llmagent_notify_given_up_messages",
        "Messages that could not be sent for a day, or for which there was no room.",
        lambda snapshot: None if snapshot.notify is None else snapshot.notify.given_up,
    ),
    gauges(
        "llmagent_doctor_finding",
        "1 for each check of the last examination of the host that found something wrong.",
        ("check", "service", "result"),
        lambda snapshot: [((f.check, f.service, f.result.value), 1) for f in snapshot.findings],
    ),
)
