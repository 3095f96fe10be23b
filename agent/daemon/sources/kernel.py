# SPDX-License-Identifier: Apache-2.0
"""Reads the kernel log for the driver's reports of GPU errors."""

from __future__ import annotations

from agent.core.failures.xids import meaning_of_xid
from agent.core.gpu.xid_lines import Xids
from agent.core.state.observations import XidSeen
from agent.daemon.clock import Clock, wall_clock_is_ahead_by
from agent.daemon.sources.thread import Emit
from agent.host.journal.follower import Follower
from agent.host.journal.kernel import KernelLine, KernelLines
from agent.host.machine.line_mark import LineMark

BATCH = 5000
IDLE_SECONDS = 5.0

NAME = "kernel-log"
CURSOR_NAME = "/kernel"
"""The name under which it is remembered how far the log was read; no service has a slash."""


class KernelSource:
    """Goes on behind `cursor`, so that what was logged before a reboot or a crash is read too.

    Lines that `mark` knows are left out: a process of the agent ended while it read them.
    """

    name = NAME

    def __init__(
        self, cursor: str | None, xids: Xids, emit: Emit, clock: Clock, mark: LineMark
    ) -> None:
        self._mark = mark
        self.cursor = cursor
        self._xids = xids
        self._emit = emit
        self._clock = clock
        self._log: Follower[KernelLine] | None = None

    def look(self) -> None:
        """Wait for lines and read what is there."""
        if self._log is None:
            self._log = self._open()
        else:
            self._log.wait(IDLE_SECONDS)
        while lines := self._log.drain(BATCH):
            for line in lines:
                if line.cursor not in self._mark.known:
                    self._mark.reads(line.cursor)
                    self._read(line)
            self._mark.has_read()
            self.cursor = lines[-1].cursor

    def wake(self) -> None:
        """Make a waiting look return. From any thread."""
        if self._log is not None:
            self._log.wake()

    def close(self) -> None:
        """Close the journal."""
        if self._log is not None:
            self._log.close()

    def _open(self) -> Follower[KernelLine]:
        try:
            return Follower(KernelLines(), self.cursor)
        except ValueError:
            self.cursor = None  # what was remembered is no cursor
            return Follower(KernelLines(), None)

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
