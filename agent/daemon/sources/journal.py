# SPDX-License-Identifier: Apache-2.0
"""Follows one service's journal, feeds the log reader of the present run, concludes dead runs."""

from __future__ import annotations

import queue
import time

from agent.core.diagnosis.concluding.crashes import WINDOW_SECONDS, lacks_a_cause, word_of
from agent.core.diagnosis.lines import shown
from agent.core.diagnosis.reader import Diagnosis, LogReader
from agent.core.diagnosis.signatures import SignatureSet
from agent.core.failures.classes import FailureClass
from agent.core.state.observations import LogConcluded, LogProgress
from agent.daemon.clock import Clock
from agent.daemon.sources.thread import Emit, LineCount
from agent.host.journal.crashes import crashes_between, run_that_wrote
from agent.host.journal.entry import JournalEntry
from agent.host.journal.follower import Alternatives, Follower
from agent.host.journal.reader import JournalError
from agent.host.journal.sync import synchronize
from agent.host.journal.unit import UnitLines, run_of
from agent.host.machine.line_mark import RUN, LineMark

BATCH = 5000
IDLE_SECONDS = 5.0
TELL_SECONDS = 0.5
LATER_SECONDS = 5.0
"""How much later than a run's last line the kernel's word of its crash may come."""

LAST_WORDS_SECONDS = 1.0
"""How long journald may take to write what a dead process has sent it (4 to 38 ms measured)."""


def source_name(service: str) -> str:
    """Return the name of the source of a service's lines."""
    return f"journal:{service}"


class JournalSource:
    """Goes on behind `cursor` in a run that serves, else begins at the head of the known run.

    Lines belong to a run by their InvocationID, so that a late line of the old run cannot be taken
    for one of the new. A run that was still starting is read again from its head, which rebuilds
    what the last process of the agent knew of it; a run that serves may have weeks of lines, and
    the agent knows all it needs of its start. `cursor` tells how far this process has read,
    `last_lines` how that ends (for any thread). Lines that `mark` knows are left out: a process of
    the agent ended while it read them.
    """

    def __init__(
        self,
        service: str,
        invocation_id: str,
        cursor: str | None,
        signatures: SignatureSet,
        emit: Emit,
        clock: Clock,
        mark: LineMark,
    ) -> None:
        self.name = source_name(service)
        self.service = service
        self._mark = mark
        self._journal = UnitLines(f"{service}.service")
        self._invocation_id = invocation_id
        self.cursor = cursor
        self.lines = LineCount()
        self._kept: tuple[str, ...] = ()
        self._signatures = signatures
        self._emit = emit
        self._clock = clock
        self._follower: Follower[JournalEntry] | None = None
        self._reader = LogReader(signatures)
        if cursor is not None:
            self._reader.came_up()
        self._ended: set[str] = set()
        self._asked: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._wanted: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._told: tuple[object, ...] = ()
        self._told_at = 0.0
        self._untold = False
        self._last_at = 0.0

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The last lines of the present run, without quotations of clients. For any thread."""
        return shown(self._kept)

    def conclude(self, invocation_id: str) -> None:
        """Ask for the conclusion of a dead run. From any thread."""
        self._asked.put(invocation_id)
        self.wake()

    def follow(self, invocation_id: str) -> None:
        """Ask for a run to be read from its first line on. From any thread."""
        self._wanted.put(invocation_id)
        self.wake()

    def wake(self) -> None:
        """Look soon. From any thread."""
        if self._follower is not None:
            self._follower.wake()

    def look(self) -> None:
        """Wait for lines or a question, read what is there, tell what is new."""
        follower = self._open()
        idle = self._asked.empty() and self._wanted.empty()
        if not idle or follower.wait(self._patience()):
            self._read(follower)
        while not self._wanted.empty():
            self._catch_up(follower, self._wanted.get_nowait())
        while not self._asked.empty():
            self._conclude(follower, self._asked.get_nowait())
        self._tell()

    def close(self) -> None:
        """Close the journal."""
        if self._follower is not None:
            self._follower.close()

    def _patience(self) -> float:
        """Return how long to wait for lines: less when something is still to be told."""
        if not self._untold:
            return IDLE_SECONDS
        return max(0.0, self._told_at + TELL_SECONDS - time.monotonic())

    def _open(self) -> Follower[JournalEntry]:
        if self._follower is None:
            follower = self._follow()
            if self._invocation_id and self.cursor is None:
                follower.from_first(self._run(self._invocation_id))
            self._follower = follower
            self._read(follower)
        return self._follower

    def _follow(self) -> Follower[JournalEntry]:
        try:
            return Follower(self._journal, self.cursor)
        except ValueError:
            self.cursor = None  # what was remembered is no cursor
            return Follower(self._journal, None)

    def _run(self, invocation_id: str) -> Alternatives:
        return run_of(f"{self.service}.service", invocation_id)

    def _read(self, follower: Follower[JournalEntry]) -> None:
        while True:
            entries = follower.drain(BATCH)
            for entry in entries:
                if entry.invocation_id and entry.invocation_id != self._invocation_id:
                    if entry.invocation_id in self._ended:
                        continue
                    self._begin(entry.invocation_id)
                if entry.from_manager:
                    self._reader.began(entry.realtime_seconds)  # systemd's "Started"
                elif entry.cursor not in self._mark.known:
                    self._mark.reads(entry.cursor)
                    at, goes_on = entry.realtime_seconds, entry.goes_on
                    self._reader.feed(entry.message, at, goes_on=goes_on, pid=entry.pid)
            self._mark.has_read()
            if entries:
                self.cursor = entries[-1].cursor
                self._last_at = entries[-1].realtime_seconds
                self.lines.read += sum(not entry.from_manager for entry in entries)
                self._kept = self._reader.kept
            self.lines.suppressed = self._journal.suppressed
            if follower.at_end:
                return
            self._tell()

    def _begin(self, invocation_id: str) -> None:
        self._ended = {self._invocation_id}
        self._invocation_id = invocation_id
        self._reader = LogReader(self._signatures)
        self._told = ()

    def _catch_up(self, follower: Follower[JournalEntry], invocation_id: str) -> None:
        if invocation_id != self._invocation_id:
            self._go_back(follower, invocation_id)
            self._read(follower)

    def _conclude(self, follower: Follower[JournalEntry], invocation_id: str) -> None:
        if invocation_id != self._invocation_id:
            self._go_back(follower, invocation_id)
        # The cause is often in the very last lines, which journald may not have written yet.
        synchronize(LAST_WORDS_SECONDS)
        self._read(follower)
        self._ended.add(invocation_id)
        diagnosis = judged(self._reader, invocation_id, self._mark)
        if lacks_a_cause(diagnosis) and (word := self._kernels_word(invocation_id, diagnosis)):
            self._reader.take_kernels_word(word)
            diagnosis = self._reader.diagnosis()
        self._emit(LogConcluded(self._clock(), self.service, invocation_id, diagnosis))

    def _kernels_word(self, invocation_id: str, diagnosis: Diagnosis) -> str:
        """Return what the kernel says of a crash of this run, "" for nothing."""
        native = diagnosis.failure is FailureClass.NATIVE_CRASH
        begin, end = self._last_at - WINDOW_SECONDS, self._last_at + LATER_SECONDS
        try:
            return word_of(
                crashes_between(begin, end), invocation_id, run_that_wrote, native=native
            )
        except JournalError:
            return ""  # the run's own log is judged as it is

    def _go_back(self, follower: Follower[JournalEntry], invocation_id: str) -> None:
        self._ended = set()
        self._invocation_id = invocation_id
        self._reader = LogReader(self._signatures)
        follower.from_first(self._run(invocation_id))

    def _tell(self) -> None:
        reader = self._reader
        state = (self._invocation_id, reader.phase, reader.activity, reader.progress, reader.facts)
        now = time.monotonic()
        self._untold = state != self._told and bool(self._invocation_id)
        # Another phase is told at once: a verification may wait for it.
        is_new_phase = state[:2] != self._told[:2]
        if not self._untold or (now - self._told_at < TELL_SECONDS and not is_new_phase):
            return
        self._told, self._told_at, self._untold = state, now, False
        self._emit(
            LogProgress(
                self._clock(),
                self.service,
                self._invocation_id,
                reader.phase,
                reader.activity,
                reader.progress,
                reader.facts,
                reader.stages,
            )
        )


def judged(reader: LogReader, invocation_id: str, mark: LineMark) -> Diagnosis:
    """Return what a run's log shows; nothing of a run that ended a process as it was judged."""
    run = RUN + invocation_id
    if run in mark.known:
        return Diagnosis()
    mark.reads(run)
    diagnosis = reader.diagnosis()
    mark.has_read()
    return diagnosis
