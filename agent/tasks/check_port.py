# SPDX-License-Identifier: Apache-2.0
"""Whether somebody else listens where a service shall, and whether that costs what serves now."""

from __future__ import annotations

from pathlib import Path

from agent.core.settings.service import Settings
from agent.host.probes.kernel import listener
from agent.host.probes.services import is_active


def taken_port(settings: Settings) -> tuple[str, bool]:
    """Return who else listens on the service's port, "" when nobody does, and whether it serves.

    A service that serves elsewhere now would be stopped for a port that it cannot have; one that
    does not run yet may wait for the port.
    """
    if settings.headless:
        return "", False  # it listens for nobody
    holder = listener(settings.port)
    if holder is None or not holder.pid or holder.unit == settings.unit:
        return "", False
    whose = f" of {holder.unit}" if holder.unit else ""
    return f"{holder.name} (pid {holder.pid}){whose}", is_active(settings.unit) is True


def lowest_port() -> int:
    """Return the lowest port for users without privileges; 1024 where the kernel has no setting."""
    file = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    return int(file.read_text()) if file.exists() else 1024
