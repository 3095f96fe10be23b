# SPDX-License-Identifier: Apache-2.0
"""Examines what lies between this host and those that serve with it."""

from __future__ import annotations

from collections.abc import Iterator

from agent.core.doctor.cluster import (
    PeerClock,
    judge_door,
    judge_interface,
    judge_peers,
    judge_rdma,
)
from agent.core.doctor.finding import Finding
from agent.core.settings.service import Settings
from agent.host.probes import network
from agent.tasks.cluster.ask_peers import ask_peers


def examine_cluster(settings: Settings) -> Iterator[Finding]:
    """Yield the findings; nothing of a service that one host serves. Raises AgentError."""
    cluster, service = settings.cluster, settings.name
    if cluster is None:
        return
    named = None if cluster.interface is None else network.interface(cluster.interface)
    is_ours = network.is_own_address(cluster.host_ip)
    yield judge_interface(service, cluster, named, is_ours=is_ours)
    port = cluster.meeting_port
    if port is not None:
        away = not cluster.is_head
        door = network.door(cluster.meeting_address, port) if away else None
        yield judge_door(service, cluster, door)
    yield judge_rdma(settings, network.rdma())
    told = ask_peers(cluster, service)
    clocks = [PeerClock(peer.name, peer.problem, peer.ahead_seconds) for peer in told]
    yield judge_peers(service, clocks)
