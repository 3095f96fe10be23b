# SPDX-License-Identifier: Apache-2.0
"""systemd as the agent sees it: one thing to import for reading, steering and watching units."""

from __future__ import annotations

from agent.host.systemd.bus import JobResult, SystemdBus
from agent.host.systemd.connection import SystemdError
from agent.host.systemd.unit_state import UnitState
from agent.host.systemd.unit_watch import UnitWatch

__all__ = ["JobResult", "SystemdBus", "SystemdError", "UnitState", "UnitWatch"]
