# SPDX-License-Identifier: Apache-2.0
"""python3-systemd's Reader by its raw half: 4 us an entry, where get_next() takes 13."""

from __future__ import annotations

from collections.abc import Sequence

from systemd.journal import INVALIDATE, Reader

from agent.errors import HostLacksError
from agent.host.journal.entry import RawFields


class JournalError(HostLacksError):
    """Tells that the journal cannot be read; open a new reader at the last cursor."""


class RawReader:
    """Walks the entries that match, oldest first; for one thread."""

    def __init__(self, alternatives: Sequence[Sequence[str]]) -> None:
        """Opens the journal. alternatives: sets of FIELD=value; an entry meets all of one set.

        All journal files of this machine are opened: lines of a unit that runs as an ordinary
        user are in that user's file. Raises JournalError.
        """
        try:
            self._reader = Reader(converters={})
            for alternative in alternatives:
                for match in alternative:
                    self._reader.add_match(match)
                self._reader.add_disjunction()
            # The first fileno() sets the watches up: from here on no change goes unnoticed.
            self._descriptor: int = self._reader.fileno()
        except OSError as failure:
            raise _journal_error("open", failure) from failure

    def close(self) -> None:
        """Closes the journal files."""
        self._reader.close()

    @property
    def descriptor(self) -> int:
        """What to poll, for `poll_events`; journald makes it ready at most every 250 ms."""
        return self._descriptor

    @property
    def poll_events(self) -> int:
        """The events to poll for."""
        return int(self._reader.get_events())

    def acknowledge(self) -> bool:
        """Takes note of what made the descriptor ready; opens new files, closes removed ones.

        Tells whether there were such files.
        """
        try:
            return bool(self._reader.process() == INVALIDATE)
        except OSError as failure:
            raise _journal_error("follow", failure) from failure

    def seek_head(self) -> None:
        """Goes before the oldest entry."""
        self._reader.seek_head()

    def seek_tail(self) -> None:
        """Goes behind the newest entry, for `previous` alone: going on from there skips entries."""
        self._reader.seek_tail()

    def seek_realtime(self, seconds: float) -> None:
        """Goes before the first entry that came at this time, in seconds since 1970, or later."""
        self._reader.seek_realtime(max(seconds, 0.0))

    def seek_cursor(self, cursor: str) -> None:
        """Goes to where the cursor is or was: `next` finds that entry itself, if it matches.

        Raises ValueError for text that is no cursor.
        """
        try:
            self._reader.seek_cursor(cursor)
        except (OSError, ValueError) as failure:
            raise ValueError(f"not a journal cursor: {cursor!r}") from failure

    def next(self) -> bool:
        """Goes to the next entry; False when there is none yet. Sees entries once written."""
        return self._step(1)

    def previous(self) -> bool:
        """Goes to the entry before."""
        return self._step(-1)

    def _step(self, entries: int) -> bool:
        try:
            return bool(self._reader._next(entries))  # noqa: SLF001 - get_next() decodes too much
        except OSError as failure:
            raise _journal_error("read", failure) from failure

    def fields(self) -> RawFields | None:
        """Returns the current entry's fields; None when the entry is damaged on disk."""
        try:
            fields: RawFields = self._reader._get_all()  # noqa: SLF001 - as above
        except OSError:
            return None
        return fields

    def cursor(self) -> str:
        """Returns the current entry's cursor."""
        return str(self._reader._get_cursor())  # noqa: SLF001 - as above

    def realtime_seconds(self) -> float:
        """Returns when journald received the current entry, in seconds since 1970."""
        return int(self._reader._get_realtime()) / 1e6  # noqa: SLF001 - as above


def _journal_error(what: str, failure: OSError) -> JournalError:
    return JournalError(
        f"cannot {what} the journal: {failure.strerror}; "
        "`journalctl --verify` shows damaged files, and reading needs root or group systemd-journal"
    )
