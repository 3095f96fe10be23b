# SPDX-License-Identifier: Apache-2.0
"""Who wrote a line: vLLM about itself, vLLM quoting a client, or another program in its log.

Only what vLLM, CUDA, the driver, systemd and the kernel say of themselves may name a cause. A line
in which a client can have put words never does, whatever it holds; which lines those are is data
(writers.toml). vLLM puts its prefix before each line of one record (NewLineFormatter, all
releases), so a record ends where its prefix does; without one it ends where its quotes close.
"""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum

from agent.core.diagnosis.lines import Line, program_in
from agent.core.diagnosis.usual import Answers, Usual, accepted
from agent.core.diagnosis.writing.own_words import (
    is_a_librarys_warning,
    may_stand_before,
    names_a_requests,
)
from agent.core.diagnosis.writing.prefixes import Prefixes
from agent.core.diagnosis.writing.quotations import is_frame, is_open
from agent.core.diagnosis.writing.quoted import MAX_PROCESSES, ONE_WRITE_SECONDS, Quoted
from agent.core.diagnosis.writing.request_traces import HEAD, RequestTraces
from agent.core.diagnosis.writing.shapes import Shapes
from agent.core.diagnosis.writing.talk import Talk
from agent.core.diagnosis.writing.writers import Writers, is_access
from agent.core.record import dataclass

LOGRUS = "t"
"""How a record of logrus begins."""

REST_LINES = 40
"""Lines without a prefix that may belong to a quotation that was left open."""

REQUEST_LINES = 400
"""Lines of one request's traceback, chained causes and notes of its message included."""

_CLIENTS_LEVELS = frozenset({"WARNING", "ERROR", "CRITICAL"})


class Writer(StrEnum):
    """Whose words a line holds. ACCESS and CLIENT may be a client's, OTHER is no part of vLLM."""

    ENGINE = "engine"
    ACCESS = "access"
    CLIENT = "client"
    OTHER = "other"


@dataclass(slots=True)
class Provenance:
    """Follows who writes; one for each log."""

    writers: Writers | None
    quoted: Quoted = field(default_factory=Quoted)
    _programs: set[str] = field(default_factory=set)
    _raw_is_a_clients: bool = False
    _at: float | None = None
    _before: float | None = None
    write: str | None = None
    """The process that began what is written now, where a client's words may go on."""
    _traces: RequestTraces = field(default_factory=RequestTraces)
    _was_access: bool = False
    _of_a_trace: bool = False
    """The line is of a traceback that may go through the engine."""
    _prefixes: Prefixes = field(default_factory=Prefixes)
    shapes: Shapes = field(default_factory=Shapes)
    talk: Talk = field(default_factory=Talk)
    _pid: int = 0
    _talked: bool = False
    """The line may be the rest of what a library says of a request."""

    def writer(self, line: Line, *, ready: bool, at: float | None = None, pid: int = 0) -> Writer:
        """Return whose words the next line holds; `ready`: clients can reach the server.

        `at`: when it came to the journal, in seconds since 1970; `pid`: who wrote it, 0 if unknown.
        """
        self._before, self._at, self._pid = self._at, at, pid
        self._of_a_trace = self._talked = False
        if not line.first and self._raw_is_a_clients:
            return Writer.CLIENT
        found = self._writer(line, ready=ready)
        ends = None
        if found in (Writer.ENGINE, Writer.ACCESS):
            found, ends = self._by_those_before(line, found, ready=ready)
        self._raw_is_a_clients = found in (Writer.ACCESS, Writer.CLIENT)
        quotes = self._raw_is_a_clients and not accepted(line.shown)
        own = ends is False or (not line.level and self._is_native(line.text))
        may_go_on = quotes or (ready and found is Writer.ENGINE and not own)
        self.write = (line.process or self.write or "") if may_go_on else None
        self._was_access = found is Writer.ACCESS
        return found

    def took(self, said: Usual, at: float | None) -> bool:
        """Take note of usual lines as `writer` would; False, and of nothing, where it must ask.

        So it must where a client's words may go on in them, and where the journal's times may show
        that: of the lines with a time only bare answers of a server at work are nobody's words.
        """
        nobodys = isinstance(said, Answers) and said.accepted
        certain = at is None or (nobodys and not said.carrier)
        if self.writers is None or self._traces.any or not certain:
            return False
        answers = isinstance(said, Answers)
        if isinstance(said, Answers):
            taken = not self.quoted.rest_of(said.process)
        else:
            program = program_in(said.carrier)
            record = self.quoted.records.get(said.process)
            taken = record is None or record.source != said.source
            taken = taken and (not program or program in self._programs)
        if taken:
            self._before, self._at = self._at, at
            self._raw_is_a_clients = self._was_access = answers
            self.write = None if nobodys else said.process or self.write or ""
            if not answers:
                self.quoted.end(said.process)
        return taken

    @property
    def is_quiet(self) -> bool:
        """Whether no traceback of a server at work is open."""
        return not self._traces.any

    def knows_program_of(self, line: Line) -> bool:
        """Tell whether it is known for ever that the program of a line writes vLLM's log."""
        return line.program in ("", *self._programs) or line.program.startswith("systemd")

    def took_forms(self, count: int, write: str | None, *, clients: bool) -> None:
        """Take note of lines without times as `writer` would; `clients`: the last is theirs."""
        self._before, self._at = None if count > 1 else self._at, None
        self._raw_is_a_clients, self._was_access, self.write = clients, False, write

    def are_its_own(self, line: Line, before: str, head: str = "") -> bool:
        """Tell whether words of a line, behind `before`, can be vLLM's own once clients reach it.

        `head`: `before` and what else of the line stands before what a signature cannot do without.

        Whatever prints it may end in a client's words where it quotes one: only with its beginning,
        or behind the name of an exception of the engine's, does a line speak of vLLM itself. What
        libraries print by themselves has forms of its own besides. A line that is carried as none
        of the start was is one that somebody has quoted.
        """
        if self.writers is None:
            return True
        if self._is_within_another(line):
            return False
        if self.shapes.are_odd(line, self._at):
            of_a_runtime = line.recorded == LOGRUS and not line.carrier
            return of_a_runtime and self.writers.runtime.match(line.text) is not None
        if is_a_librarys_warning(line.text):
            return False
        quotes = line.level or self.writers.api_server.match(line.process)
        # A file holds what kernel, container runtime and shell say besides, in any form.
        if not quotes and self._at is None:
            return True
        if names_a_requests(head or before, self.writers.engine_exceptions):
            return False
        if not self.may_stand_alone(line):
            return False
        native = None if quotes else self.writers.native.fullmatch(before)
        return native is not None or may_stand_before(before)

    def may_stand_alone(self, line: Line) -> bool:
        """Tell whether a line of the journal of a server at work can be of its engine by its form.

        vLLM says nothing of itself without its prefix, once it has shown that it has one, and no
        exception comes without its traceback. What libraries print by themselves has its own forms.
        """
        if line.level or self._at is None or not self._prefixes.are_there:
            return True
        return self._of_a_trace or (self._is_native(line.text) and not self._talked)

    def _writer(self, line: Line, *, ready: bool) -> Writer:
        writers, text = self.writers, line.text
        if writers is None:
            return Writer.ENGINE
        server = writers.api_server.match(line.process) is not None
        if not ready:
            self.shapes.learn(line)
            if self._at is not None:
                self._prefixes.learn(line)
            if line.process:
                self.talk.learn(self._pid, server=server)
        elif line.process and self.talk.is_another(self._pid, server=server):
            return Writer.CLIENT
        if is_access(writers, text):
            return Writer.CLIENT if self._goes_on(line) else Writer.ACCESS
        if line.program and not self._is_ours(line):
            return Writer.OTHER
        if line.level:
            return self._of_a_record(writers, line, ready=ready)
        return self._of_a_bare_line(writers, line, ready=ready)

    def _of_a_record(self, writers: Writers, line: Line, *, ready: bool) -> Writer:
        record = self.quoted.records.get(line.process)
        if record is not None and record.source == line.source:
            return Writer.CLIENT
        if record is not None and not line.process and record.is_one_write(self._at):
            return Writer.CLIENT
        rest = self.rest_of(writers, line, ready=ready)
        if rest is not None:
            return self._quote(line, rest)
        self.quoted.end(line.process)
        return Writer.ENGINE

    def rest_of(self, writers: Writers, line: Line, *, ready: bool) -> int | None:
        """Return how many bare lines may go on with a record, by itself; None: it quotes nobody."""
        told = ready or line.level in _CLIENTS_LEVELS
        if (
            writers.quoting_words.match(line.text) is not None
            or (told and writers.quoting_modules.match(line.source) is not None)
            or (ready and self._speaks_of_requests(writers, line))
        ):
            return REST_LINES if is_open(line.text) else 0
        frame = ready and is_frame(line.text)
        return 0 if frame and writers.request_frames.search(line.text) is not None else None

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
        if ready and is_frame(text) and writers.request_frames.search(text) is not None:
            return self._quote(line, REQUEST_LINES)
        if writers.quoting_words.match(text) is not None:
            return self._quote(line, REST_LINES if is_open(text) else 0)
        return Writer.ENGINE

    def _goes_on(self, line: Line) -> bool:
        """Tell whether a line without a prefix may be the rest of a client's record."""
        if line.level or not self.quoted.rest_of(line.process):
            return False
        self.quoted.went_on(line.process, 1, self._at)
        return True

    def _is_the_rest(self, line: Line) -> bool:
        """Tell whether a line in no form came with the record before it, in one write.

        vLLM puts its prefix before each line of a record of its own: what has none is quoted.
        """
        if line.level or self.write is None or self._before is None or self._at is None:
            return False
        here = line.process in ("", self.write)
        return here and 0.0 <= self._at - self._before <= ONE_WRITE_SECONDS

    def _by_those_before(
        self, line: Line, found: Writer, *, ready: bool
    ) -> tuple[Writer, bool | None]:
        """Return whose a line is by what came before it, and what RequestTraces say of it."""
        if found is Writer.ACCESS:
            within, odd = self._traces.drop(line), self.shapes.are_odd(line, self._at)
            rest = not self._was_access and self._is_the_rest(line)
            rest = rest or self._is_within_another(line)
            rest = rest or (self._at is not None and self.talk.is_open(line, self._pid, self._at))
            forged = ready and (within or odd or rest) and not accepted(line.shown)
            return Writer.CLIENT if forged else found, None
        one_write = ready and self._at is not None and self.talk.is_one_write(self._pid, self._at)
        if (one_write or self._is_the_rest(line)) and not self._traces.has(line):
            return Writer.CLIENT, None
        if self.writers is None or not ready:
            return found, None
        ends = self._traces.take(line, self.writers.engine_frames)
        self._of_a_trace = ends is False and not line.text.endswith(HEAD)
        if ends is None and self._at is not None and self._prefixes.are_there and not line.level:
            native = self._is_native(line.text)
            self._talked = self.talk.goes_on(line, self._pid, self._at, native=native)
        return self._quote(line, REST_LINES) if ends else found, ends

    def _is_within_another(self, line: Line) -> bool:
        """Tell whether a line of the journal stood within one that somebody else may have begun."""
        return not line.first and self._at is not None

    def _is_native(self, text: str) -> bool:
        """Tell whether a line without a prefix begins as what a library or a kernel says."""
        return self.writers is not None and self.writers.native.match(text) is not None

    def _quote(self, line: Line, rest: int) -> Writer:
        self.quoted.begin(line.process, line.source, rest, self._at)
        return Writer.CLIENT

    def _is_ours(self, line: Line) -> bool:
        """Tell whether the program that the journal names writes vLLM's log.

        The programs that have written in vLLM's own form do; until one has, any may.
        """
        if line.level or line.process:
            if len(self._programs) < MAX_PROCESSES:
                self._programs.add(line.program)
            return True
        return not self._programs or self.knows_program_of(line)
