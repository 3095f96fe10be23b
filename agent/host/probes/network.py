# SPDX-License-Identifier: Apache-2.0
"""Interfaces, RDMA devices and the ports of another host."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from agent.core.doctor.cluster import Door, Interface, Rdma, RdmaPort
from agent.host.probes.command import output_of

SYS = Path("/sys/class")
INFINIBAND = Path("/dev/infiniband")
CONNECT_SECONDS = 1.0


def interface(name: str) -> Interface | None:
    """Return a network interface, None where there is none of this name."""
    place = SYS / "net" / name
    if not place.exists():
        return None
    try:
        state = (place / "operstate").read_text().strip()
    except OSError:
        state = "unknown"
    return Interface(state, _addresses(name))


def _addresses(name: str) -> tuple[str, ...]:
    """Return its addresses by `ip`, none where that cannot be asked."""
    try:
        found = json.loads(output_of("ip", "-json", "address", "show", "dev", name) or "[]")
        return tuple(
            str(one["local"]) for entry in found for one in entry["addr_info"] if "local" in one
        )
    except (ValueError, KeyError, TypeError):
        return ()


def is_own_address(address: str) -> bool:
    """Tell whether an interface of this host has the address: only then can it be bound."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def rdma() -> Rdma:
    """Return what the host has of RDMA."""
    ports = tuple(
        RdmaPort(f"{port.parents[1].name}/{port.name}", _state(port))
        for port in sorted((SYS / "infiniband").glob("*/ports/*"))
    )
    return Rdma(ports, devices=any(INFINIBAND.glob("uverbs*")))


def _state(port: Path) -> str:
    """Return "ACTIVE" of "4: ACTIVE"."""
    try:
        return (port / "state").read_text().rpartition(":")[2].strip()
    except OSError:
        return "unknown"


def door(host: str, port: int) -> Door:
    """Tell what a port of another host does with a connection."""
    try:
        with socket.create_connection((host, port), CONNECT_SECONDS):
            return Door.OPEN
    except ConnectionRefusedError:
        return Door.CLOSED
    except OSError:
        return Door.SILENT
