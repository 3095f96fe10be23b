# SPDX-License-Identifier: Apache-2.0
"""Records that quote a client, by the process that began them: what follows may be theirs, too."""

from __future__ import annotations

from dataclasses import field

from agent.core.record import dataclass

MAX_PROCESSES = 64
"""Processes that are told apart; a bigger host shares one record beyond it."""

ONE_WRITE_SECONDS = 0.0002
"""journald gives all lines of one write the same time; two prints in a row are 0.4 ms apart (seen
with systemd 257)."""


@dataclass(slots=True)
class Record:
    """A client's record that a process began: what has the same `source` belongs to it.

    So do `rest` lines without a prefix. The last record that was begun also claims the lines that
    name no process. `at` is when its last line came to the journal, None where nobody knows.
    """

    source: str = ""
    rest: int = 0
    at: float | None = None

    def is_one_write(self, at: float | None) -> bool:
        """Tell whether a line in vLLM's own form came with this record, in one write.

        Before 0.10 no line names its process, so that a client whose text has line breaks of its
        own can begin such a line within the traceback of its request.
        """
        if not self.rest or self.at is None or at is None:
            return False
        if at - self.at > ONE_WRITE_SECONDS:
            return False
        self.rest -= 1
        self.at = at
        return True


@dataclass(slots=True)
class Quoted:
    """The record of each process that quotes a client; `last` is the process of the last begun."""

    records: dict[str, Record] = field(default_factory=dict)
    last: str = ""

    def begin(self, process: str, source: str, rest: int, at: float | None) -> None:
        """Take note of a record that quotes a client, and of what may follow it."""
        if process in self.records or len(self.records) < MAX_PROCESSES:
            self.records[process] = Record(source, rest, at)
            self.last = process

    def end(self, process: str) -> None:
        """Take note that the process goes on with words of its own."""
        self.records.pop(process, None)

    def rest_of(self, process: str) -> int:
        """Return how many bare lines of the process ("" of any) may be the rest of a record."""
        record = self.records.get(process or self.last)
        return 0 if record is None else record.rest

    def went_on(self, process: str, lines: int, at: float | None) -> None:
        """Take bare lines that may be the rest of a record: no more than `rest_of` says."""
        record = self.records[process or self.last]
        record.rest -= lines
        record.at = at
