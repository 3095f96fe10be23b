# SPDX-License-Identifier: Apache-2.0
"""Follows what a unit's processes, and systemd about them, write to the journal."""

from __future__ import annotations

import os
import select
from typing import Final

from agent.host.journal_entry import (
    COREDUMP_MESSAGE_ID,
    SUPPRESSED_MESSAGE_ID,
    JournalEntry,
    decode_entry,
    suppressed_messages,
)
from agent.host.journal_reader import JournalError, RawReader

__all__ = ["JournalEntry", "JournalError", "JournalFollower"]

_DROPPED_SOMETHING: Final = (f"MESSAGE_ID={SUPPRESSED_MESSAGE_ID}", "_TRANSPORT=driver")


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
        self._waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._reader = RawReader(
            (
                (f"_SYSTEMD_UNIT={unit}",),
                (f"UNIT={unit}", "_PID=1"),
                # Anyone may write COREDUMP_UNIT=; the dumper runs as root.
                (f"COREDUMP_UNIT={unit}", "_UID=0", f"MESSAGE_ID={COREDUMP_MESSAGE_ID}"),
                _DROPPED_SOMETHING,
            )
        )
        self._seen_cursor: str | None = None
        self.suppressed = 0
        """Lines of the unit that journald says it dropped, since this follower was made."""
        self.damaged = 0
        """Entries that could not be read from disk."""
        self._go_behind(cursor if cursor is not None else _newest_cursor())

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
        if first is None:
            self._go_behind(newest)
            return False
        self._seen_cursor = None
        self._reader.seek_cursor(first)
        return True

    def wait(self, timeout_seconds: float) -> bool:
        """Sleeps until the journal changed or `wake` was called; False when the time is over.

        journald announces changes at most every 250 ms; entries can be read 1 ms after they were
        written, so call `drain` as soon as anything else hints at news.
        """
        poll = select.poll()
        poll.register(self._reader.descriptor, self._reader.poll_events)
        poll.register(self._waker, select.POLLIN)
        ready = [descriptor for descriptor, _ in poll.poll(timeout_seconds * 1000)]
        if self._waker in ready:
            os.eventfd_read(self._waker)
        if self._reader.descriptor in ready:
            self._reader.acknowledge()
        return bool(ready)

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
                # After a rotation the next entry is in a file that only this notices.
                self._reader.acknowledge()
                looked_for_files = True
        return entries

    def _current(self) -> JournalEntry | None:
        seen, self._seen_cursor = self._seen_cursor, None
        if seen is not None and self._reader.is_at(seen):
            return None
        fields = self._reader.fields()
        if fields is None:
            self.damaged += 1
            return None
        suppressed = suppressed_messages(fields, self._unit)
        if suppressed is not None:
            self.suppressed += suppressed
            return None
        return decode_entry(fields, self._reader.cursor(), self._reader.realtime_seconds())

    def _go_behind(self, cursor: str | None) -> None:
        # seek_tail() is no way to start "now": with a match that has no entry yet, it lost the
        # first 1,700 lines that came (systemd 252).
        self._seen_cursor = cursor
        if cursor is None:
            self._reader.seek_head()
        else:
            self._reader.seek_cursor(cursor)


def _newest_cursor() -> str | None:
    """Returns the cursor of the newest entry of all; None when the journal is empty."""
    reader = RawReader(())
    try:
        reader.seek_tail()
        return reader.cursor() if reader.previous() else None
    finally:
        reader.close()
