# SPDX-License-Identifier: Apache-2.0
"""Follows the kernel's lines in the journal, from where the last look ended."""

from __future__ import annotations

import os
import select
from dataclasses import dataclass
from typing import Final

from agent.host.journal.entry import RawFields
from agent.host.journal.position import Position
from agent.host.journal.reader import RawReader

KERNEL: Final = "_TRANSPORT=kernel"
"""What makes a line the kernel's: journald sets the field itself, so no program of the host can.

A program can have the kernel quote it, though: what counts is how a line begins.
"""


@dataclass(frozen=True, slots=True)
class KernelLine:
    """One line; `realtime_seconds` since 1970, `earlier_boot`: before the present boot."""

    cursor: str
    realtime_seconds: float
    earlier_boot: bool
    message: str


class KernelLog:
    """Reads each line once, in order; raises JournalError. For one thread, except `wake`."""

    def __init__(self, cursor: str | None) -> None:
        """Starts behind the cursor's entry; without one, at the first line of the present boot.

        A cursor whose entry is gone starts at the oldest entry after it; ValueError for text that
        is no cursor.
        """
        self._boot_id = _present_boot()
        boot = (f"_BOOT_ID={self._boot_id}",) if self._boot_id and cursor is None else ()
        self._reader = RawReader(((KERNEL, *boot),))
        self._position = Position(cursor, start_is_passed=True)
        self._position.seek(self._reader)
        self._waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def close(self) -> None:
        """Closes the journal; no method may be called after it."""
        self._reader.close()
        os.close(self._waker)

    def wake(self) -> None:
        """Makes `wait` return within a millisecond. From any thread."""
        os.eventfd_write(self._waker, 1)

    def wait(self, timeout_seconds: float) -> None:
        """Sleeps until there may be something to drain or `wake` was called."""
        poll = select.poll()
        poll.register(self._reader.descriptor, self._reader.poll_events)
        poll.register(self._waker, select.POLLIN)
        if self._waker in [descriptor for descriptor, _ in poll.poll(timeout_seconds * 1000)]:
            os.eventfd_read(self._waker)

    def drain(self, limit: int) -> list[KernelLine]:
        """Returns at most `limit` lines that are in the journal now, oldest first."""
        lines: list[KernelLine] = []
        looked_for_files = False
        while len(lines) < limit:
            if self._reader.next():
                line = self._current()
                if line is not None:
                    lines.append(line)
            elif looked_for_files:
                break
            else:
                if self._reader.acknowledge():
                    self._position.seek(self._reader)
                looked_for_files = True
        return lines

    def _current(self) -> KernelLine | None:
        cursor = self._reader.cursor()
        if not self._position.passes(cursor):
            return None
        fields = self._reader.fields()
        if fields is None:
            return None
        realtime = self._reader.realtime_seconds()
        earlier = bool(self._boot_id) and _text(fields, "_BOOT_ID") != self._boot_id
        return KernelLine(cursor, realtime, earlier, _text(fields, "MESSAGE"))


def _present_boot() -> str:
    """Return the boot of the journal's newest entry; "" while the journal is empty.

    The kernel's own file may show another id in a container, to a sandbox with its own /proc.
    """
    reader = RawReader(())
    try:
        reader.seek_tail()
        fields = reader.fields() if reader.previous() else None
        return _text(fields, "_BOOT_ID") if fields else ""
    finally:
        reader.close()


def _text(fields: RawFields, name: str) -> str:
    value = fields.get(name, b"")
    first = value[0] if isinstance(value, list) else value
    return first.decode(errors="replace")
