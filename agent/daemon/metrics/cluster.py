# SPDX-License-Identifier: Apache-2.0
"""Services that several hosts serve together, as metric families."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client.core import Metric

from agent.core.cluster.member import Stance
from agent.core.view.cluster import ClusterView
from agent.core.view.snapshot import Snapshot
from agent.daemon.metrics.families import Row, Value, families, gauge, gauges

LABELS: Final = ("service",)


def cluster_families(snapshot: Snapshot) -> Iterator[Metric]:
    """Yield every family; a service that one host serves has no series in any."""
    groups = [((s.name,), s.cluster) for s in snapshot.services if s.cluster is not None]
    yield from families(CLUSTER, groups, LABELS)


def _stances(view: ClusterView) -> Iterable[Value]:
    return [((stance.value,), stance.value == view.stance) for stance in Stance]


CLUSTER: tuple[Row[ClusterView], ...] = (
    gauge(
        "llmagent_service_cluster_hosts",
        "Hosts that serve a service together, this one included.",
        lambda view: view.hosts,
    ),
    gauge(
        "llmagent_service_cluster_generation",
        "Number of the life of all ranks that this host takes part in; it rises with each new one.",
        lambda view: view.generation,
    ),
    gauges(
        "llmagent_service_cluster_stance",
        "How this host's rank stands to that generation: 1 for the stance that it has.",
        ("stance",),
        _stances,
    ),
    gauges(
        "llmagent_service_cluster_peer_up",
        "Whether the llmagent of another host of the group answers.",
        ("peer",),
        lambda view: [((peer.address,), peer.answers) for peer in view.peers],
    ),
    gauges(
        "llmagent_service_cluster_peer_generation",
        "Generation that another host of the group takes part in, as it last said.",
        ("peer",),
        lambda view: [((peer.address,), peer.generation) for peer in view.peers],
    ),
    gauges(
        "llmagent_service_cluster_peer_last_seen_timestamp_seconds",
        "When the llmagent of another host of the group last answered, 0 for never.",
        ("peer",),
        lambda view: [((peer.address,), peer.seen_seconds) for peer in view.peers],
    ),
)
