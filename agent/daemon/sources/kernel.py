# SPDX-License-Identifier: Apache-2.0
"""Reads the kernel log for the driver's reports of GPU errors."""

from __future__ import annotations

from agent.core.failures.xids import meaning_of_xid
from agent.core.gpu.xid_lines import Xids
from agent.core.state.observations import XidSeen
from agent.daemon.clock import Clock, wall_clock_is_ahead_by
from agent.daemon.sources.thread import Emit
from agent.host.journal.kernel import KernelLine, KernelLog

BATCH = 5000
IDLE_SECONDS = 5.0

CURSOR_NAME = "/kernel"
"""The name under which it is remembered how far the log was read; no service has a slash."""


class KernelSource:
    """Goes on behind `cursor`, so that what was logged before a reboot or a crash is read too."""

    name = "kernel-log"

    def __init__(self, cursor: str | None, xids: Xids, emit: Emit, clock: Clock) -> None:
        self.cursor = cursor
        self._xids = xids
        self._emit = emit
        self._clock = clock
        self._log: KernelLog | None = None

    def look(self) -> None:
        """Wait for lines and read what is there."""
        if self._log is None:
            self._log = self._open()
        else:
            self._log.wait(IDLE_SECONDS)
        while lines := self._log.drain(BATCH):
            for line in lines:
                self._read(line)
            self.cursor = lines[-1].cursor

    def wake(self) -> None:
        """Make a waiting look return. From any thread."""
        if self._log is not None:
            self._log.wake()

    def close(self) -> None:
        """Close the journal."""
        if self._log is not None:
            self._log.close()

    def _open(self) -> KernelLog:
        try:
            return KernelLog(self.cursor)
        except ValueError:
            self.cursor = None  # what was remembered is no cursor
            return KernelLog(None)

    def _read(self, line: KernelLine) -> None:
        found = self._xids.read(line.message)
        if found is None:
            return
        meaning = meaning_of_xid(found.code)
        now = self._clock()
        logged_at = line.realtime_seconds - wall_clock_is_ahead_by(self._clock)
        self._emit(
            XidSeen(
                at=now,
                # A line from before the wall clock was set back is not of the future.
                logged_at=min(now, logged_at),
                pci_bus_id=found.pci_bus_id,
                code=found.code,
                text=line.message,
                name=meaning.name,
                meaning=meaning.meaning,
                pid=found.pid,
                recovery_action=found.recovery_action,
                earlier_boot=line.earlier_boot,
            )
        )
