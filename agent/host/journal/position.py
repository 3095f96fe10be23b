# SPDX-License-Identifier: Apache-2.0
"""Where a follower is in the journal, and what it has already passed near there."""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

REMEMBERED: Final = 512
"""Entries that a file found late may lie behind; reading them again takes 2 ms."""


class Seeks(Protocol):
    """What can be sent to a place in the journal."""

    def seek_head(self) -> None:
        """Goes before the oldest entry."""

    def seek_cursor(self, cursor: str) -> None:
        """Goes to the cursor's entry."""


class Position:
    """Lets a reader step back when journal files appeared, and pass each entry once all the same.

    sd-journal merges files by time and never looks behind where it is. A file that is noticed only
    after younger entries of another were read would lose its lines: so it is with the first lines
    of a service that runs as an ordinary user, whose own file is made for them (systemd 252, 257).
    """

    def __init__(self, start: str | None, *, start_is_passed: bool) -> None:
        """Starts at a cursor, itself passed already or not; None is the head of the journal."""
        self._start = start
        self._order: deque[str] = deque()
        self._passed: set[str] = set()
        if start is not None and start_is_passed:
            self.passes(start)

    def seek(self, reader: Seeks) -> None:
        """Sends the reader to the oldest place from which it may find something new."""
        place = self._order[0] if len(self._order) >= REMEMBERED else self._start
        if place is None:
            reader.seek_head()
        else:
            reader.seek_cursor(place)

    def passes(self, cursor: str) -> bool:
        """Notes that the entry was reached; tells whether that is the first time."""
        if cursor in self._passed:
            return False
        self._passed.add(cursor)
        self._order.append(cursor)
        if len(self._order) > REMEMBERED:
            self._passed.remove(self._order.popleft())
        return True
