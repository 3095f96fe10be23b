# SPDX-License-Identifier: Apache-2.0
"""Follows the journal: each entry once and in order, across rotation, vacuum and journald's death.

Which entries are followed, and what becomes of each, is a `Lines`: a unit's (unit.py) or the
kernel's (kernel.py).
"""

from __future__ import annotations

import os
import select
from collections.abc import Sequence
from typing import Final, Generic, Protocol, TypeVar

from agent.host.journal.entry import RawFields
from agent.host.journal.position import Position
from agent.host.journal.reader import RawReader

Alternatives = Sequence[Sequence[str]]
"""Sets of FIELD=value; an entry that meets all of one set matches."""

DRAINED_CHARACTERS: Final = 1 << 20
"""A drain ends once its messages are so long together: 5,000 entries of journald's longest line
(LineMax=48K) would be 240 MB."""

_FLOWING_SECONDS: Final = 0.02


class Entry(Protocol):
    """What a follower must know of what it returns."""

    @property
    def message(self) -> str:
        """The text of the entry."""


E_co = TypeVar("E_co", bound=Entry, covariant=True)
E = TypeVar("E", bound=Entry)


class Lines(Protocol[E_co]):
    """Some entries of the journal: how they are found, where they begin, how one is read."""

    def matches(self, cursor: str | None) -> Alternatives:
        """Return what an entry must meet, for a follower that starts at the cursor."""

    def beginning(self) -> str | None:
        """Return the cursor to start behind where none is known; None is the journal's head."""

    def read(self, fields: RawFields, cursor: str, realtime_seconds: float) -> E_co | None:
        """Return the entry; None where it is not to be returned."""


class Follower(Generic[E]):
    """Reads the entries of one `Lines`; for one thread, except `wake`.

    Every method that reads raises JournalError.
    """

    def __init__(self, lines: Lines[E], cursor: str | None) -> None:
        """Start behind the cursor's entry; without one, where the lines begin.

        A cursor whose entry is gone starts at the oldest entry after it; ValueError for text that
        is no cursor.
        """
        self._lines = lines
        self._reader = RawReader(lines.matches(cursor))
        start = cursor if cursor is not None else lines.beginning()
        self._position = Position(start, start_is_passed=True)
        self._position.seek(self._reader)
        self._waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._flows = False
        self.at_end = False
        """Whether the last `drain` came to the journal's end, and not only to its own limit."""
        self.damaged = 0
        """Entries that could not be read from disk, since this follower was made."""

    def close(self) -> None:
        """Close the journal; no method may be called after it."""
        self._reader.close()
        os.close(self._waker)

    def wake(self) -> None:
        """Make `wait` return within a millisecond. From any thread."""
        os.eventfd_write(self._waker, 1)

    def from_first(self, alternatives: Alternatives) -> bool:
        """Go to the first entry that matches: `drain` returns it, and what of the lines follows.

        False when the journal has no such entry yet: then what comes from now on follows.
        """
        newest = newest_cursor()
        reader = RawReader(alternatives)
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
        """Sleep until there may be something to drain or `wake` was called; False if neither.

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

    def drain(self, limit: int) -> list[E]:
        """Return entries that are in the journal now, oldest first: `limit` of them at most.

        Fewer where they are long: see DRAINED_CHARACTERS; `at_end` tells whether that was all.
        """
        entries: list[E] = []
        room = DRAINED_CHARACTERS
        looked_for_files = self.at_end = False
        while len(entries) < limit and room > 0:
            if self._reader.next():
                entry = self._current()
                if entry is not None:
                    entries.append(entry)
                    room -= len(entry.message)
            elif looked_for_files:
                self.at_end = True
                break
            else:
                # Not before the end: it also lets go of vacuumed files, with what is unread there.
                if self._reader.acknowledge():
                    self._position.seek(self._reader)
                looked_for_files = True
        self._flows = bool(entries)
        return entries

    def _current(self) -> E | None:
        cursor = self._reader.cursor()
        if not self._position.passes(cursor):
            return None
        fields = self._reader.fields()
        if fields is None:
            self.damaged += 1
            return None
        return self._lines.read(fields, cursor, self._reader.realtime_seconds())


def newest_cursor() -> str | None:
    """Return the cursor of the newest entry of all; None when the journal is empty.

    Going behind that entry is how to start "now": seek_tail() with a match that has no entry yet
    lost the first 1,700 lines that came (systemd 252).
    """
    reader = RawReader(())
    try:
        reader.seek_tail()
        return reader.cursor() if reader.previous() else None
    finally:
        reader.close()
