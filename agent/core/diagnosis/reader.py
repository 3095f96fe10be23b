# SPDX-License-Identifier: Apache-2.0
"""Reads vLLM's log line by line, in bounded memory, and says at any time what it shows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import field

from agent.core.diagnosis.carried.carriers import Carriers
from agent.core.diagnosis.carried.wrapped import Wrapped
from agent.core.diagnosis.concluding.conclusion import judge, numbers_of, phase_of, phase_shown
from agent.core.diagnosis.concluding.cut_off import of_a_log_that_is_over
from agent.core.diagnosis.concluding.told import advice_of, may_pass, place_of
from agent.core.diagnosis.facts import Facts
from agent.core.diagnosis.lines import TAIL_CHARACTERS, Line, clean_lines, shown
from agent.core.diagnosis.numbers import Numbers
from agent.core.diagnosis.progress import Progress, progress_after
from agent.core.diagnosis.provenance import Provenance, Writer
from agent.core.diagnosis.run import Run
from agent.core.diagnosis.signatures import Match, SignatureSet
from agent.core.diagnosis.stage_marks import forked, mark
from agent.core.diagnosis.tracebacks import EXCEPTION_WORD, OF_A_TRACE, Tracebacks
from agent.core.diagnosis.usual import Usual, usual
from agent.core.diagnosis.writing.followers import Followers
from agent.core.failures.classes import EnginePhase, FailureClass, Outcome
from agent.core.record import dataclass
from agent.core.secrets import without_any_secret
from agent.core.stages.book import StageBook, StagesSeen

TAIL_LINES = 20
OF_A_CLIENT = "(here the log quotes a client)"
_OF_A_START = frozenset({Outcome.RUNNING, Outcome.UNKNOWN, Outcome.DEGRADED})
"""What a run shows that has but begun; a fallback is told of a start as well."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a log shows of its last run."""

    outcome: Outcome = Outcome.UNKNOWN
    failure: FailureClass | None = None
    """The cause; a wrapper only where nothing else is there."""
    phase: EnginePhase = EnginePhase.STARTING
    """Where the engine was when it failed, else how far it came."""
    evidence: tuple[str, ...] = ()
    """The lines that prove it, the cause's first."""
    advice: str = ""
    """What to do, as this log tells it; "" where the class says it all."""
    switches: tuple[str, ...] = ()
    """What turns off what failed: "NAME=VALUE" of the environment or "--flag VALUE"."""
    place: str = ""
    """The same text when the same exception comes from the same place again; "" if unknown."""
    guessed: bool = False
    """The class rests on a guess."""
    beyond_settings: bool = False
    """No setting that recovery may change helps."""
    transient: bool | None = None
    """Whether the same settings may succeed next time; None if unknown, as where a phase is."""
    numbers: Numbers = field(default_factory=Numbers)
    """What the failure's lines printed of sizes, in GiB, tokens and the like."""
    facts: Facts = field(default_factory=Facts)
    also: tuple[FailureClass, ...] = ()
    """The other findings, nearest to the root first."""
    vllm_version: str | None = None
    progress: Progress | None = None


class LogReader:
    """Follows one log; several runs in it are told apart, and the last one counts.

    While a new run shows nothing but a start, the failure of the one before is reported.
    """

    def __init__(self, signatures: SignatureSet) -> None:
        self._signatures = signatures
        self._run = Run(signatures.places, tracebacks=self._no_tracebacks())
        self._before: Run | None = None
        self._provenance = Provenance(signatures.writers)
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._carriers = Carriers()
        self._wrapped = Wrapped()
        writers = signatures.writers
        self._followers = None if writers is None else Followers(writers.native)
        self._progress: Progress | None = None
        self._activity = 0
        self._at: float | None = None
        self._pid = 0
        self._stages = StageBook()

    def feed(
        self, line: str, at: float | None = None, *, goes_on: bool = False, pid: int = 0
    ) -> None:
        """Take one raw line, whatever carried it; never raises for its content.

        `at`: when it was written, in seconds of any clock; without it vLLM's own stamps count.
        `goes_on`: it is the rest of one that journald has cut. `pid`: who wrote it, 0 if unknown.
        """
        self._at, self._pid = at, pid
        if not goes_on and (known := usual(line)) is not None and self._take_usual(known):
            return
        self.feed_clean(clean_lines(line, goes_on=goes_on))

    def take_kernels_word(self, line: str) -> None:
        """Take what the kernel says of the run's end: nobody else's words are in it."""
        for part in clean_lines(line):
            self._take_of_the_engine(part, certain=True)

    def feed_clean(self, lines: Iterable[Line]) -> None:
        """Take the clean lines of a raw one, as `feed` would."""
        for line in lines:
            self._take(self._carriers.take(line))

    def feed_usual(self, said: Usual) -> None:
        """Take usual lines of one process, as `feed` would one by one without times."""
        self._at = None
        if not self._take_usual(said):
            for line in said.lines:
                self.feed(line)

    @property
    def phase(self) -> EnginePhase:
        """How far the engine has come."""
        return phase_shown(self._run)

    def began(self, at: float) -> None:
        """Take note of when the process was started, by the clock of `feed`."""
        self._stages.begin(at)

    def came_up(self) -> None:
        """Take note that the run serves, as somebody has read who saw its start."""
        self._run.come_up()

    @property
    def stages(self) -> StagesSeen:
        """Where the seconds of the start went so far."""
        return self._stages.seen

    @property
    def progress(self) -> Progress | None:
        """The last progress bar of the phase at hand."""
        return self._progress

    @property
    def facts(self) -> Facts:
        """What the engine has said of itself so far."""
        return self._run.book.facts()

    @property
    def ready(self) -> bool:
        """Whether it serves: it came up, and neither a failure nor a stop was seen since."""
        return self._run.ready and not self._run.over

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines, clean and shortened, without quotations of clients."""
        return shown(self.kept)

    @property
    def kept(self) -> tuple[str, ...]:
        """The last lines as they are read, cheap to ask for: not to be shown."""
        return tuple(self._tail)

    @property
    def activity(self) -> int:
        """A counter that rises with every line that shows progress of a start."""
        return self._activity

    def diagnosis(self, *, over: bool = False) -> Diagnosis:
        """Return what the log shows up to here; `over`: nothing comes any more."""
        run, verdict = self._run, judge(self._run)
        if self._before is not None and not run.ready and verdict.outcome in _OF_A_START:
            earlier = judge(self._before)
            if earlier.outcome is Outcome.FAILED:
                run, verdict = self._before, earlier
        if over:
            verdict = of_a_log_that_is_over(run, verdict)
        facts = run.book.facts()
        return Diagnosis(
            outcome=verdict.outcome,
            failure=verdict.failure,
            phase=phase_of(run, verdict),
            evidence=tuple(map(without_any_secret, verdict.evidence)),
            advice=advice_of(verdict),
            guessed=verdict.guessed,
            beyond_settings=verdict.beyond_settings,
            switches=verdict.finding.switches if verdict.finding is not None else (),
            place=place_of(verdict),
            transient=may_pass(verdict),
            numbers=numbers_of(verdict, facts),
            facts=facts,
            also=verdict.also,
            vllm_version=run.version,
            progress=self._progress if verdict.outcome is Outcome.RUNNING else None,
        )

    def _take_usual(self, said: Usual) -> bool:
        """Take the usual lines of a server at work where nothing else is awaited; else False."""
        shown = said.shown
        known = self._carriers.know(said, shown[0])
        if not (known and self._run.is_settled(said) and self._provenance.took(said, self._at)):
            return False
        self._keep_usual(shown)
        self._wrapped.forget()
        if self._followers is not None:
            self._followers.forget()
        self._run.take_usual(said, shown[-1])
        return True

    def _take(self, line: Line) -> None:
        if not line.text or line.text.isspace():
            self._wrapped.forget()
            return
        run, at, pid = self._run, self._at, self._pid
        writer = self._provenance.writer(line, ready=run.ready, at=at, pid=pid)
        self._keep(line, writer)
        if self._at is None and self._run.ready and self._followers is not None:
            self._followers.take(line, a_clients=writer in (Writer.ACCESS, Writer.CLIENT))
            writer = Writer.CLIENT if self._followers.rest else writer
        if writer is Writer.ENGINE:
            self._take_of_the_engine(line)
            return
        self._wrapped.forget()
        find = self._signatures.find_in_access_line
        if writer is Writer.ACCESS and (matches := find(line.text)):
            self._run.take(line, matches)

    def _keep(self, line: Line, writer: Writer) -> None:
        """Keep the line for who looks at the last ones, without what a client said."""
        if writer is not Writer.CLIENT:
            self._tail.append(line.shown.strip()[:TAIL_CHARACTERS])
        elif not self._tail or self._tail[-1] != OF_A_CLIENT:
            self._tail.append(OF_A_CLIENT)

    def _keep_usual(self, shown: Sequence[str]) -> None:
        self._tail.extend(shown)

    def _take_of_the_engine(self, line: Line, *, certain: bool = False) -> None:
        matches = self._signatures.find(line.text)
        if line.level and self._at is not None and self._run.ready:
            self._run.findings.outlived(FailureClass.CONTAINER_DAEMON)  # who is away relays nothing
        if matches and self._run.ready and not certain:
            matches = tuple(m for m in matches if m.is_frame or self._is_its_own(line, m))
        if not self._run.ready or self._provenance.may_stand_alone(line):
            line, matches = self._wrapped.joined(line, matches, self._signatures.find)
        if matches and self._carriers.is_foreign(line):
            return
        if any(match.begins_a_run(gone=self._run.gone) for match in matches):
            self._start_anew()
        of_a_trace = line.text.lstrip(" ").startswith(OF_A_TRACE)
        of_a_trace = of_a_trace or self._run.tracebacks.within(line.process)
        if matches and not self._stages.over:
            mark(self._stages, matches, self._at, line.stamp or self._run.stamp)
            proof = forked(self._stages.seen, line.process) if self._at is not None else ""
            if proof:
                self._run.book.learn("start_method", "fork", proof, weak=True)
        if matches or of_a_trace or self._throws(line):
            if self._run.take(line, matches):
                self._activity += 1
                self._progress = progress_after(self._progress, matches)
            if self._run.version is None and line.source.startswith("core.py:"):
                self._name_version_by_line(line, matches)

    def _is_its_own(self, line: Line, m: Match) -> bool:
        return self._provenance.are_its_own(line, m.before(line.text), m.head(line.text))

    def _throws(self, line: Line) -> bool:
        """Tell whether vLLM itself names an exception here."""
        if (found := EXCEPTION_WORD.search(line.text)) is None:
            return False
        own = self._provenance.are_its_own
        return not self._run.ready or own(line, line.text[: found.start()])

    def _start_anew(self) -> None:
        if not ((old := self._run).started or old.ready or old.over):
            return
        if judge(old).outcome is Outcome.FAILED:
            self._before = old
        elif old.ready:
            self._before = None
        self._run = Run(
            old.places,
            tracebacks=self._no_tracebacks(),
            findings=old.findings.warnings_after_the_end(),
        )
        self._progress = None
        if self._stages.seen.seconds:  # else it still waits for vLLM's first word
            self._stages = StageBook()

    def _no_tracebacks(self) -> Tracebacks:
        writers = self._signatures.writers
        return Tracebacks(None if writers is None else writers.engine_exceptions)

    def _name_version_by_line(self, line: Line, matches: tuple[Match, ...]) -> None:
        number = int(line.source.removeprefix("core.py:"))
        for match in matches:
            offset = {"engine-core-failed": 0, "engine-core-fatal": 2}.get(match.signature.id)
            if offset is not None:
                self._run.version = self._signatures.versions.get(number - offset)
