# SPDX-License-Identifier: Apache-2.0
"""The network between hosts that serve together: interface, ports, RDMA, peers and clocks."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from agent.core.doctor.finding import Finding, fail, ok, skipped, unknown, warning
from agent.core.record import dataclass
from agent.core.settings.cluster import ClusterSettings
from agent.core.settings.service import Settings

APART_SECONDS = 5.0
"""Clocks that differ by more make one story of two hosts' histories hard to read."""

RDMA_OPTION = "--device=/dev/infiniband"


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface: its state in the kernel's words ("up"), and its addresses."""

    state: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RdmaPort:
    """A port of an RDMA device, as /sys/class/infiniband has it: "mlx5_0/1", "ACTIVE"."""

    name: str
    state: str


@dataclass(frozen=True, slots=True)
class Rdma:
    """What the host has of RDMA; `devices` whether /dev/infiniband has verbs for user programs."""

    ports: tuple[RdmaPort, ...] = ()
    devices: bool = False


class Door(StrEnum):
    """What a port of another host does with a connection."""

    OPEN = "open"
    CLOSED = "closed"
    """The host answers, and nobody listens: as it must be while no engine runs there."""

    SILENT = "silent"
    """Nothing answers: the host is away, or a firewall drops it."""


@dataclass(frozen=True, slots=True)
class PeerClock:
    """A peer, and what its clock is ahead of this host's; `problem`: it said nothing."""

    name: str
    problem: str = ""
    ahead_seconds: float | None = None


def judge_interface(
    service: str, cluster: ClusterSettings, found: Interface | None, *, is_ours: bool
) -> Finding:
    """Tell whether the engine will listen at the address that the others are told.

    `found` is the interface that is named, `is_ours` whether some interface has `host_ip`.
    """
    check, name = "cluster-interface", cluster.interface
    if not is_ours:
        told = f"no interface of this host has the address {cluster.host_ip}"
        fix = f"Correct service.{service}.cluster.host_ip (ip address)."
        return fail(check, told, fix, service)
    if name is None:
        told = f"{cluster.host_ip} is this host's; gloo and NCCL choose an interface themselves"
        fix = f"Name it: service.{service}.cluster.interface."
        return warning(check, told, fix, service)
    if found is None:
        fix = f"Correct service.{service}.cluster.interface (ip link)."
        return fail(check, f"there is no interface {name}", fix, service)
    if found.state not in ("up", "unknown"):
        return fail(check, f"{name} is {found.state}", f"ip link set {name} up", service)
    if found.addresses and cluster.host_ip not in found.addresses:
        told = f"{name} has {', '.join(found.addresses)}, and not {cluster.host_ip}"
        fix = "Name the interface of host_ip, or the address of the interface."
        return fail(check, told, fix, service)
    return ok(check, f"{name} is up and has {cluster.host_ip}", service)


def judge_door(service: str, cluster: ClusterSettings, door: Door | None) -> Finding:
    """Tell whether this host reaches the port at which the engines meet; None on the head."""
    check, port = "cluster-port", cluster.meeting_port
    where = f"{cluster.meeting_address}:{port}"
    match door:
        case None:
            return skipped(check, "the engines meet at this host", service)
        case Door.OPEN:
            return ok(check, f"{where} takes connections", service)
        case Door.CLOSED:
            return ok(check, f"{where} is reached; no engine listens there now", service)
        case Door.SILENT:
            fix = (
                "Open the network between the hosts in both directions: the engines use"
                " ports that nobody knows before, besides this one."
            )
            return fail(check, f"{where} does not answer", fix, service)


def judge_rdma(settings: Settings, rdma: Rdma) -> Finding:
    """Tell whether NCCL can use the RDMA network that the host has."""
    check, service = "cluster-rdma", settings.name
    if not rdma.ports:
        return skipped(check, "the host has no RDMA device: NCCL uses sockets", service)
    active = [port.name for port in rdma.ports if port.state == "ACTIVE"]
    if not active:
        told = ", ".join(f"{port.name} {port.state}" for port in rdma.ports)
        fix = "Look at cable, switch and subnet manager (ibstat)."
        return warning(check, f"no RDMA port is active: {told}", fix, service)
    if not rdma.devices:
        told = f"{', '.join(active)} is active, and /dev/infiniband has no verbs device"
        return warning(check, told, "modprobe ib_uverbs rdma_ucm", service)
    if settings.engine.in_container and RDMA_OPTION not in settings.engine.extra_options:
        told = f"{', '.join(active)} is active, and the container sees no RDMA device"
        fix = f'Add "{RDMA_OPTION}" to service.{service}.engine.extra_options.'
        return warning(check, told, fix, service)
    return ok(check, f"{', '.join(active)} is active", service)


def judge_peers(service: str, peers: Sequence[PeerClock]) -> Finding:
    """Tell whether the llmagent of every other host answers, and what its clock says."""
    check = "cluster-peers"
    silent = [f"{peer.name} ({peer.problem})" for peer in peers if peer.problem]
    if silent:
        fix = (
            f"Look at [metrics] listen there, and at service.{service}.cluster.peers, user,"
            " password_file and ca_file here: without its word no rank is started."
        )
        return fail(check, f"does not answer: {', '.join(silent)}", fix, service)
    apart = [
        f"{peer.name} by {peer.ahead_seconds:+.0f} s"
        for peer in peers
        if peer.ahead_seconds is not None and abs(peer.ahead_seconds) > APART_SECONDS
    ]
    if apart:
        told = f"clocks differ: {', '.join(apart)}"
        return warning(check, told, "apt install systemd-timesyncd, or chrony, on each.", service)
    if not peers:
        return unknown(check, "no peer was asked", service=service)
    names = ", ".join(peer.name for peer in peers)
    return ok(check, f"{names} answer, and their clocks agree", service)
