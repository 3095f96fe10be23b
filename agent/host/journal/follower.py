# SPDX-License-Identifier: Apache-2.0
"""Follows what a unit's processes, and systemd about them, write to the journal."""

from __future__ import annotations

import os
import select
from typing import Final

from agent.host.journal.entry import (
    COREDUMP_MESSAGE_ID,
    SUPPRESSED_MESSAGE_ID,
    JournalEntry,
    decode_entry,
    suppressed_messages,
)
from agent.host.journal.position import Position
from agent.host.journal.reader import RawReader

_DROPPED_SOMETHING: Final = (f"MESSAGE_ID={SUPPRESSED_MESSAGE_ID}", "_TRANSPORT=driver")


_FLOWING_SECONDS: Final = 0.02


class JournalFollower:
    """Reads a unit's lines, each once and in order, across rotation, vacuum and journald's death.

    For one thread, except `wake`. Every method that reads raises JournalError.
    """

    def __init__(self, unit: str, cursor: str | None) -> None:
        """Starts behind the cursor's entry; without one, behind the journal's newest entry.

        A cursor whose entry is gone starts at the oldest entry after it; ValueError for text that
        is no cursor.
        """
        self._unit = unit
        self._reader = RawReader(
            (
                (f"_SYSTEMD_UNIT={unit}",),
                (f"UNIT={unit}", "_PID=1"),
                # Anyone may write COREDUMP_UNIT=; the dumper runs as root.
                (f"COREDUMP_UNIT={unit}", "_UID=0", f"MESSAGE_ID={COREDUMP_MESSAGE_ID}"),
                _DROPPED_SOMETHING,
            )
        )
        start = cursor if cursor is not None else _newest_cursor()
        self._position = Position(start, start_is_passed=True)
        self._position.seek(self._reader)
        self._waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._flows = False
        self.suppressed = 0
        """Lines of the unit that journald says it dropped, since this follower was made."""
        self.damaged = 0
        """Entries that could not be read from disk."""

    def close(self) -> None:
        """Closes the journal; no method may be called after it."""
        self._reader.close()
        os.close(self._waker)

    def wake(self) -> None:
        """Makes `wait` return within a millisecond. From any thread."""
        os.eventfd_write(self._waker, 1)

    def from_invocation(self, invocation_id: str) -> bool:
        """Goes to the first entry of a run: `drain` returns all of it, and what follows.

        False when the journal has nothing of that run yet: then what comes from now on follows.
        """
        newest = _newest_cursor()
        reader = RawReader(
            (
                (f"_SYSTEMD_INVOCATION_ID={invocation_id}", f"_SYSTEMD_UNIT={self._unit}"),
                (f"INVOCATION_ID={invocation_id}", f"UNIT={self._unit}", "_PID=1"),
            )
        )
        try:
            reader.seek_head()
            first = reader.cursor() if reader.next() else None
        finally:
            reader.close()
        start = first if first is not None else newest
        self._position = Position(start, start_is_passed=first is None)
        self._position.seek(self._reader)
        return first is not None

    def wait(self, timeout_seconds: float) -> bool:
        """Sleeps until there may be something to drain or `wake` was called; False if neither.

        It goes on saying so until `drain` has reached the end. journald announces changes at most
        every 250 ms; entries can be read 1 ms after they were written, so call `drain` as soon as
        anything else hints at news. While lines flow, `wait` ends after 20 ms.
        """
        seconds = min(timeout_seconds, _FLOWING_SECONDS) if self._flows else timeout_seconds
        poll = select.poll()
        poll.register(self._reader.descriptor, self._reader.poll_events)
        poll.register(self._waker, select.POLLIN)
        ready = [descriptor for descriptor, _ in poll.poll(seconds * 1000)]
        if self._waker in ready:
            os.eventfd_read(self._waker)
        return bool(ready) or self._flows

    def drain(self, limit: int) -> list[JournalEntry]:
        """Returns at most `limit` entries that are in the journal now, oldest first."""
        entries: list[JournalEntry] = []
        looked_for_files = False
        while len(entries) < limit:
            if self._reader.next():
                entry = self._current()
                if entry is not None:
                    entries.append(entry)
            elif looked_for_files:
                break
            else:
                # Not before the end: it also lets go of vacuumed files, with what is unread there.
                if self._reader.acknowledge():
                    self._position.seek(self._reader)
                looked_for_files = True
        self._flows = bool(entries)
        return entries

    def _current(self) -> JournalEntry | None:
        cursor = self._reader.cursor()
        if not self._position.passes(cursor):
            return None
        fields = self._reader.fields()
        if fields is None:
            self.damaged += 1
            return None
        suppressed = suppressed_messages(fields, self._unit)
        if suppressed is not None:
            self.suppressed += suppressed
            return None
        return decode_entry(fields, cursor, self._reader.realtime_seconds())


def _newest_cursor() -> str | None:
    """Returns the cursor of the newest entry of all; None when the journal is empty.

    Going behind that entry is how to start "now": seek_tail() with a match that has no entry yet
    lost the first 1,700 lines that came (systemd 252).
    """
    reader = RawReader(())
    try:
        reader.seek_tail()
        return reader.cursor() if reader.previous() else None
    finally:
        reader.close()
