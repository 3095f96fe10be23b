# SPDX-License-Identifier: Apache-2.0
"""Brings one unit file to its text and has systemd know it; reloads only when something changed."""

from __future__ import annotations

from pathlib import Path

from agent.core.settings.service import Settings
from agent.core.unit.container_user import ContainerUser
from agent.host.systemd import SystemdBus
from agent.host.systemd.unit_files import write_if_changed


def user_of(settings: Settings) -> ContainerUser | None:
    """Return whom an engine in a container runs as, None for root and outside of one."""
    if not settings.engine.in_container:
        return None
    # Loaded by who has containers alone: memory.
    from agent.host.machine.container_user import container_user

    user, _ = container_user(settings)
    return user


def install_unit(bus: SystemdBus, path: Path, text: str) -> None:
    """Write, link and load the unit; raises AgentError. May be repeated after a crash.

    What an operator has put in the place of the link stays, a mask too: that is refused.
    """
    changed = write_if_changed(path, text)
    state = bus.read(path.name)
    linked = bool(state.fragment_path) and Path(state.fragment_path).resolve() == path.resolve()
    if not linked:
        bus.link(path)
    # A crash between the write and the reload shows as NeedDaemonReload.
    if changed or not linked or state.need_daemon_reload:
        bus.daemon_reload()
