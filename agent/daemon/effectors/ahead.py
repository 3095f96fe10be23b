# SPDX-License-Identifier: Apache-2.0
"""Has what a start reads listed, read ahead, or forgotten, by programs that run apart."""

from __future__ import annotations

from pathlib import Path
from typing import assert_never

from agent.core.state.actions import AheadAction, ForgetFiles, ListFiles, ReadAhead
from agent.core.state.start.ahead import AheadSeen
from agent.daemon.clock import Clock
from agent.host.systemd import SystemdBus
from agent.tasks.ahead import programs


class AheadEffector:
    """Serves one lane of a service, so that its bus has one thread."""

    def __init__(self, state: Path, clock: Clock) -> None:
        """`state` is the agent's own directory."""
        self._lists = state / programs.LISTS
        self._clock = clock
        self._bus = SystemdBus()

    def carry_out(self, action: AheadAction) -> AheadSeen | None:
        """Do it; what is read is waited for."""
        match action:
            case ListFiles():
                pids = tuple(pid for pid, _ in self._bus.processes(action.running.unit))
                files, size = programs.list_files(
                    self._lists, action.running, action.engine.read_paths, pids
                )
                return AheadSeen(self._clock(), action.service, action.invocation_id, files, size)
            case ReadAhead():
                read = programs.read_ahead(self._bus, action.service, begun=action.begun)
                # At a boot nothing may have been read, which is no fault.
                problem = programs.NOTHING_SAID if read is None and not action.begun else ""
                return AheadSeen(self._clock(), action.service, read=read, problem=problem)
            case ForgetFiles():
                (self._lists / action.service).unlink(missing_ok=True)
                return None
            case _:
                assert_never(action)

    def failed(self, action: AheadAction, detail: str) -> AheadSeen:
        """Return what to tell when `carry_out` raised."""
        return AheadSeen(self._clock(), action.service, problem=detail)
