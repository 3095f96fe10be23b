# SPDX-License-Identifier: Apache-2.0
"""Who wrote a line: vLLM about itself, vLLM quoting a client, or another program in its log.

Only what vLLM, CUDA, the driver, systemd and the kernel say of themselves may name a cause. A line
in which a client can have put words never does, whatever it holds; which lines those are is data
(writers.toml). vLLM puts its prefix before each line of one record (NewLineFormatter, all
releases), so a record ends where its prefix does; without one it ends where its quotes close.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum

from agent.core.diagnosis.lines import Line
from agent.core.diagnosis.usual import answered
from agent.core.patterns import compile_pattern

MAX_PROCESSES = 64
"""Processes that are told apart; a bigger host shares one record beyond it."""

REST_LINES = 40
"""Lines without a prefix that may belong to a quotation that was left open."""

REQUEST_LINES = 400
"""Lines of one request's traceback, chained causes and notes of its message included."""

ONE_WRITE_SECONDS = 0.0002
"""journald gives all lines of one write the same time; two prints in a row are 0.4 ms apart (seen
with systemd 257)."""

QUOTED = 2_000
"""Characters of a record in which its quotation marks are counted."""

_NAMES = re.compile(
    r"(?:\S{1,400}\.py:\d{1,9}:)? {0,40}(?:RuntimeError: Worker failed with error ')?"
    r"(?:\[[\w .-]{1,40}\] {0,9}|(?:[\w.]{1,200}|Engine \d{1,4}): {1,9}){0,5}"
    r"(?:(?<=Error: )[^'\"`\[{]{0,200}|(?:\w{1,60}\.){0,9})"
)
"""What may stand before words of vLLM's own: where Python warns, the words with which it quotes its
own worker's error, a tag, uvicorn's level, an engine's number, the names of exceptions, and what
an exception says before it quotes anything."""

_PYTHON_WARNING = re.compile(r"\S{1,400}\.py:\d{1,9}: \w{1,60}Warning: ")

_CLIENTS_LEVELS = frozenset({"WARNING", "ERROR", "CRITICAL"})


class Writer(StrEnum):
    """Whose words a line holds. ACCESS and CLIENT may be a client's, OTHER is no part of vLLM."""

    ENGINE = "engine"
    ACCESS = "access"
    CLIENT = "client"
    OTHER = "other"


class WritersError(ValueError):
    """Tells what of writers.toml cannot be used and why."""


@dataclass(frozen=True, slots=True)
class Writers:
    """The patterns of writers.toml."""

    access: re.Pattern[str]
    quoting_modules: re.Pattern[str]
    quoting_words: re.Pattern[str]
    engine_modules: re.Pattern[str]
    api_server: re.Pattern[str]
    request_head: re.Pattern[str]
    request_frames: re.Pattern[str]


def writers_from_table(table: Mapping[str, object]) -> Writers:
    """Build the patterns; raises WritersError naming the entry."""
    names = [f.name for f in fields(Writers)]
    if set(table) != set(names):
        raise WritersError(f"[writers] has {sorted(table)}, and must have {sorted(names)}")
    try:
        return Writers(**{name: compile_pattern(str(table[name])) for name in names})
    except re.error as error:
        raise WritersError(f"[writers]: {error}") from error


@dataclass(slots=True)
class _Record:
    """A client's record that a process began: what has the same `source` belongs to it.

    So do `rest` lines without a prefix. The last record that was begun also claims the lines that
    name no process. `at` is when its last line came to the journal, None where nobody knows.
    """

    source: str = ""
    rest: int = 0
    at: float | None = None


@dataclass(slots=True)
class Provenance:
    """Follows who writes; one for each log."""

    writers: Writers | None
    _records: dict[str, _Record] = field(default_factory=dict)
    _programs: set[str] = field(default_factory=set)
    _last: str = ""
    _raw_is_a_clients: bool = False
    _at: float | None = None
    _before: float | None = None
    _write: str | None = None
    """The process whose line began what is written now, where a client's words may go on."""

    def writer(self, line: Line, *, ready: bool, at: float | None = None) -> Writer:
        """Return whose words the next line holds; `ready`: clients can reach the server.

        `at`: when it came to the journal, in seconds since 1970.
        """
        self._before, self._at = self._at, at
        if not line.first and self._raw_is_a_clients:
            return Writer.CLIENT
        found = self._writer(line, ready=ready)
        if found is Writer.ENGINE and self._is_the_rest(line):
            found = Writer.CLIENT
        self._raw_is_a_clients = found in (Writer.ACCESS, Writer.CLIENT)
        quotes = self._raw_is_a_clients and answered(line.shown) is None
        may_go_on = quotes or (ready and bool(line.level))
        self._write = (line.process or self._write or "") if may_go_on else None
        return found

    def took_answered(self, process: str, at: float | None) -> bool:
        """Take note of an answered request; False, and of nothing, where a client's may go on."""
        record = self._records.get(process or self._last)
        if self.writers is None or (record is not None and record.rest):
            return False
        self._before, self._at = self._at, at
        self._raw_is_a_clients, self._write = True, None
        return True

    def are_its_own(self, line: Line, before: str) -> bool:
        """Tell whether words of a line, behind `before`, can be vLLM's own once clients reach it.

        A record of a log, what the API server prints and what Python warns of end in a client's
        words wherever they quote one: only with its beginning, or behind the name of an exception,
        does such a line speak of vLLM itself.
        """
        if self.writers is None:
            return True
        quotes = (
            line.level
            or self.writers.api_server.match(line.process)
            or _PYTHON_WARNING.match(line.text)
        )
        return not quotes or _NAMES.fullmatch(before) is not None

    def _writer(self, line: Line, *, ready: bool) -> Writer:
        writers, text = self.writers, line.text
        if writers is None:
            return Writer.ENGINE
        spoken_of = ' "' in text or text.startswith("TRACE: ")
        if spoken_of and writers.access.search(text) is not None:
            return Writer.CLIENT if self._goes_on(line) else Writer.ACCESS
        if line.program and not self._is_ours(line):
            return Writer.OTHER
        if line.level:
            return self._of_a_record(writers, line, ready=ready)
        return self._of_a_bare_line(writers, line, ready=ready)

    def _of_a_record(self, writers: Writers, line: Line, *, ready: bool) -> Writer:
        record = self._records.get(line.process)
        if record is not None and record.source == line.source:
            return Writer.CLIENT
        if record is not None and not line.process and self._is_one_write(record):
            return Writer.CLIENT
        told = ready or line.level in _CLIENTS_LEVELS
        if (
            writers.quoting_words.match(line.text) is not None
            or (told and writers.quoting_modules.match(line.source) is not None)
            or (ready and self._speaks_of_requests(writers, line))
        ):
            return self._quote(line, REST_LINES if _is_open(line.text) else 0)
        if ready and _is_frame(line.text) and writers.request_frames.search(line.text) is not None:
            return self._quote(line, 0)
        if record is not None:
            del self._records[line.process]
        return Writer.ENGINE

    @staticmethod
    def _speaks_of_requests(writers: Writers, line: Line) -> bool:
        from_api_server = writers.api_server.match(line.process) is not None
        return from_api_server and writers.engine_modules.match(line.source) is None

    def _of_a_bare_line(self, writers: Writers, line: Line, *, ready: bool) -> Writer:
        text = line.text
        if writers.request_head.match(text) is not None:
            return self._quote(line, REQUEST_LINES)
        if self._goes_on(line):
            return Writer.CLIENT
        if ready and _is_frame(text) and writers.request_frames.search(text) is not None:
            return self._quote(line, REQUEST_LINES)
        if writers.quoting_words.match(text) is not None:
            return self._quote(line, REST_LINES if _is_open(text) else 0)
        return Writer.ENGINE

    def _goes_on(self, line: Line) -> bool:
        """Tell whether a line without a prefix may be the rest of a client's record."""
        record = self._records.get(line.process or self._last)
        if line.level or record is None or not record.rest:
            return False
        record.rest -= 1
        record.at = self._at
        return True

    def _is_the_rest(self, line: Line) -> bool:
        """Tell whether a line in no form came with the record before it, in one write.

        vLLM puts its prefix before each line of a record of its own: what has none is quoted.
        """
        if line.level or self._write is None or self._before is None or self._at is None:
            return False
        here = line.process in ("", self._write)
        return here and 0.0 <= self._at - self._before <= ONE_WRITE_SECONDS

    def _is_one_write(self, record: _Record) -> bool:
        """Tell whether a line in vLLM's own form came with the record before it, in one write.

        Before 0.10 no line names its process, so that a client whose text has line breaks of its
        own can begin such a line within the traceback of its request.
        """
        if not record.rest or record.at is None or self._at is None:
            return False
        if self._at - record.at > ONE_WRITE_SECONDS:
            return False
        record.rest -= 1
        record.at = self._at
        return True

    def _quote(self, line: Line, rest: int) -> Writer:
        if line.process in self._records or len(self._records) < MAX_PROCESSES:
            self._records[line.process] = _Record(line.source, rest, self._at)
            self._last = line.process
        return Writer.CLIENT

    def _is_ours(self, line: Line) -> bool:
        """Tell whether the program that the journal names writes vLLM's log.

        The programs that have written in vLLM's own form do; until one has, any may.
        """
        if line.level or line.process:
            if len(self._programs) < MAX_PROCESSES:
                self._programs.add(line.program)
            return True
        known = not self._programs or line.program in self._programs
        return known or line.program.startswith("systemd")


def _is_frame(text: str) -> bool:
    return text.startswith("  ") and "File " in text


def _is_open(text: str) -> bool:
    """Tell whether a quotation begins in the line and does not end there."""
    part = text[:QUOTED]
    return any(part.count(mark) % 2 for mark in "'\"`") or len(text) > QUOTED
