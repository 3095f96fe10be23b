# SPDX-License-Identifier: Apache-2.0
"""Runs a service's own unit with another command line for a while, by a drop-in in /run.

What is in /run is gone at the next boot, whatever happens to the one who wrote it.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from agent.host.systemd import JobResult, SystemdBus

RUNTIME = Path("/run/systemd/system")
NAME = "90-llmagent-sweep.conf"
AGENT = "llmagent.service"
START_SECONDS = 30.0
STOP_SECONDS = 120.0


class TrialUnit:
    """While it is entered the agent is stopped, so that nobody recovers what is only tried."""

    def __init__(self, unit: str, bus: SystemdBus) -> None:
        self._unit = unit
        self._bus = bus
        self._drop_in = RUNTIME / f"{unit}.d" / NAME

    def __enter__(self) -> TrialUnit:
        self._bus.stop(AGENT, STOP_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._drop_in.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self._drop_in.parent.rmdir()
        self._bus.stop(self._unit, STOP_SECONDS)
        self._bus.daemon_reload()
        self._bus.start(self._unit, START_SECONDS)
        self._bus.start(AGENT, START_SECONDS)

    def start(self, exec_start: str) -> bool:
        """Start the unit with this ExecStart= line and no restarts; False when systemd refuses."""
        self._drop_in.parent.mkdir(parents=True, exist_ok=True)
        self._drop_in.write_text(f"[Service]\nExecStart=\nExecStart={exec_start}\nRestart=no\n")
        self._bus.stop(self._unit, STOP_SECONDS)
        self._bus.daemon_reload()
        result = self._bus.start(self._unit, START_SECONDS)
        return result in (JobResult.DONE, JobResult.PENDING)

    def runs(self) -> bool:
        """Tell whether the trial's process is still there."""
        return self._bus.read(self._unit).active_state in ("active", "activating")
