# SPDX-License-Identifier: Apache-2.0
"""One run of vLLM as its log tells it: how far it came, what went wrong first, how it stopped."""

from __future__ import annotations

from dataclasses import field, replace

from agent.core.diagnosis.facts import FactBook
from agent.core.diagnosis.failure_lines import (
    FailureLines,
    finding_by_place,
    finding_of,
    place_tells_more,
    shorten,
)
from agent.core.diagnosis.lines import Line, seconds_between
from agent.core.diagnosis.numbers import to_float
from agent.core.diagnosis.placement.places import Placed, Places
from agent.core.diagnosis.placement.thrown import Thrown
from agent.core.diagnosis.served import Served
from agent.core.diagnosis.signatures import SIGNS_OF_LIFE, Match, Signature, SignatureKind, When
from agent.core.diagnosis.tracebacks import Tracebacks, of_a_request
from agent.core.diagnosis.usual import Answers, Usual
from agent.core.diagnosis.weights import WRAPPER
from agent.core.diagnosis.writing.bystanders import may_be_theirs
from agent.core.failures.classes import EnginePhase, FailureClass
from agent.core.record import dataclass

SAME_STOP_SECONDS = 2  # who dies this shortly before an asked stop is logged died of it

_FAILING = frozenset({SignatureKind.FAILURE, SignatureKind.WRAPPER})
_ONLY_TOLD = frozenset({"DEBUG", "INFO"})
"""Levels at which a serving vLLM quotes prompts and settings, never its own failure."""


@dataclass(slots=True)
class Run:
    """What is known of one run of vLLM: `take` adds a line, `conclusion.judge` judges it."""

    places: Places = field(default_factory=Places)
    book: FactBook = field(default_factory=FactBook)
    tracebacks: Tracebacks = field(default_factory=Tracebacks)
    version: str | None = None
    stamp: str = ""
    phase: EnginePhase = EnginePhase.STARTING
    phase_line: str = ""
    started: bool = False
    recognised: bool = False
    in_container: bool = False
    boot_line: str = ""
    leftover_line: str = ""
    batch_done: bool = False
    ready: bool = False
    ready_stamp: str = ""
    ready_line: str = ""
    asked: FailureClass | None = None
    asked_line: str = ""
    asked_stamp: str = ""
    asked_before_ready: str = ""
    waited_for_connections: bool = False
    stop_line: str = ""
    exit_status: int | None = None
    exit_line: str = ""
    findings: FailureLines = field(default_factory=FailureLines)
    fallbacks: dict[FailureClass, str] = field(default_factory=dict)
    served: Served = field(default_factory=Served)
    lines: int = 0

    @property
    def stopping(self) -> bool:
        """Whether a stop is under way that was not the answer to a failure seen before."""
        return bool(self.asked or self.stop_line) and not self.failing

    @property
    def failing(self) -> bool:
        """Whether something that can end the run was seen."""
        return any(f.ends for f in self.findings) or self.tracebacks.deadly is not None

    @property
    def gone(self) -> bool:
        """Whether the log says that a process ended."""
        return self.exit_status is not None or any(f.weight == WRAPPER for f in self.findings)

    @property
    def over(self) -> bool:
        """Whether the run ended, or is about to."""
        return self.failing or bool(self.asked or self.stop_line) or self.exit_status is not None

    def is_settled(self, said: Usual) -> bool:
        """Tell whether such lines would change nothing but what `take_usual` changes."""
        return self.ready and self.recognised and self.tracebacks.is_idle(said)

    def take_usual(self, said: Usual, last: str) -> None:
        """Add usual lines, as `take` would where the run is settled; `last` is the last one."""
        self.lines += len(said.lines)
        self.in_container = self.in_container or " pid=1)" in last
        self.leftover_line = ""
        if isinstance(said, Answers):
            self.served.take(said, last.partition(") ")[2] or last)
        else:
            self.stamp = said.stamp
            self._count(said.running, shorten(said.text), moved=said.moved)

    def take(self, line: Line, matches: tuple[Match, ...]) -> bool:
        """Add a clean line; returns whether it shows progress of the start.

        The order is part of the meaning: the traceback first, which tells where an exception came
        from; then what failed, by what was known before; then what the line says of the run.
        """
        self.lines += 1
        self.stamp = line.stamp or self.stamp
        seen = self.tracebacks
        caught = bool(matches) and seen.of(line.process).harmless
        thrown = None
        if not self.stopping:
            thrown = seen.take(line, matches, ready=self.ready, number=self.lines)
        if thrown is not None and thrown.forgiven_since is not None:
            self.findings.forgiven(thrown.forgiven_since)
            thrown = None
        if seen.of(line.process).forgiven:
            matches = tuple(m for m in matches if not may_be_theirs(m.signature))
        placed = self._place(line, thrown)
        if thrown is not None:  # an exception may quote words of progress: it is none
            matches = tuple(m for m in matches if m.signature.kind not in SIGNS_OF_LIFE)
        kinds = {match.signature.kind for match in matches}
        if SignatureKind.NOISE in kinds:
            return False
        if matches:
            self.recognised = True
            self.in_container = self.in_container or " pid=1)" in line.shown
        if kinds & SIGNS_OF_LIFE:
            self.leftover_line, self.batch_done = "", SignatureKind.BATCH in kinds
        if SignatureKind.FALLBACK not in kinds:
            failing = [match for match in matches if match.signature.kind in _FAILING]
            soft = caught or SignatureKind.CAUGHT in kinds
            if not self._fail(line, failing, placed, caught=soft):
                self._add_by_place(line, thrown, placed)
        moved = False
        for match in matches:
            self._learn(line, match)
            moved = self._tell(line, match) or moved
        return moved

    def _tell(self, line: Line, match: Match) -> bool:
        """Go on with the story of the run by one meaning of a line; whether a start moved on."""
        match match.signature.kind:
            case SignatureKind.PHASE | SignatureKind.PROGRESS | SignatureKind.FACT:
                return self._move(line, match.signature)
            case SignatureKind.READY:
                return self.come_up(shorten(line.text))
            case SignatureKind.START:
                self.started = True
                return True
            case SignatureKind.FALLBACK:
                name = match.signature.failure or FailureClass.UNKNOWN
                self.fallbacks.setdefault(name, shorten(line.text))
            case SignatureKind.REQUEST:
                self._request(line, match)
            case SignatureKind.STATS:
                self._stats(line, match)
            case SignatureKind.BLOCKED:
                self._blocked(line)
            case SignatureKind.ASKED | SignatureKind.STOP:
                self._stop(line, match.signature)
            case SignatureKind.BOOT | SignatureKind.LEFTOVER if not self.over:
                self._end_unseen(line, match.signature)
            case SignatureKind.OUTLIVED:
                self.findings.outlived(match.signature.failure)
            case SignatureKind.EXIT:
                self.exit_status = int(match.captures["exit_status"] or 0)
                self.exit_line = shorten(line.text)
            case _:
                pass  # failures and frames were taken before
        return False

    def _end_unseen(self, line: Line, said: Signature) -> None:
        """Note what shows that the run ended without a word of its own."""
        begun = self.ready or self.phase_line
        if said.kind is SignatureKind.BOOT and (begun or self.started):
            self.boot_line = self.boot_line or shorten(line.text)
        elif said.kind is SignatureKind.LEFTOVER and begun and not (said.weak and self.batch_done):
            self.leftover_line = shorten(line.text)

    def _learn(self, line: Line, match: Match) -> None:
        signature = match.signature
        if match.captures.get("version") and (self.version is None or not signature.weak):
            self.version = match.captures["version"]
        if signature.kind not in _FAILING:
            self.book.take(match, line.text)

    def _move(self, line: Line, signature: Signature) -> bool:
        if self.ready:
            return False
        self.findings.moved_on()
        if signature.phase is not None and not self.failing:
            self.phase = signature.phase
            self.phase_line = shorten(line.text)
        if signature.phase in (EnginePhase.PROFILING, EnginePhase.WARMING_UP):
            self.tracebacks.survived()
            self.findings.survived_exceptions()
        return True

    def _place(self, line: Line, thrown: Thrown | None) -> Placed | None:
        """Return where an exception was thrown, and take the one that it replaced back."""
        if thrown is None:
            return None
        phase = self.tracebacks.phase_of(line.process, self.phase if self.phase_line else None)
        placed = self.places.place(thrown.text, thrown.frames, phase)
        if thrown.instead or (thrown.refusal and placed is not None and placed.failure is None):
            self.findings.replaced()
        return placed and replace(placed, refusal=thrown.refusal)

    def _add_by_place(self, line: Line, thrown: Thrown | None, placed: Placed | None) -> None:
        if thrown is not None and placed is not None:
            self.findings.add(finding_by_place(line, thrown.text, placed, self.lines))

    def _fail(
        self, line: Line, matches: list[Match], placed: Placed | None, *, caught: bool
    ) -> bool:
        """Add what one line tells: of several classes only the one that is nearest to the root."""
        if not matches or (self.ready and line.level in _ONLY_TOLD):
            return False
        if self.stopping:
            if not any(match.signature.unasked for match in matches):
                return False
            self.asked, self.stop_line = None, ""
            self.phase = EnginePhase.SERVING if self.ready else self.phase
        shown = self.tracebacks.shown(self.phase if self.phase_line else None)
        trace = self.tracebacks.of(line.process)
        serves = self.ready or of_a_request(line)
        found = [
            one
            for match in matches
            if not (match.signature.when is When.START and serves)
            and (one := finding_of(line, match, self.lines, trace, shown, caught=caught))
        ]
        if found:
            nearest = min(found, key=lambda finding: finding.weight)
            if placed is not None and place_tells_more(placed, nearest):
                return False
            for finding in found:
                if finding.failure is nearest.failure:
                    self.findings.add(replace(finding, placed=placed, stamp=self.stamp))
        return bool(found)

    def come_up(self, shown: str = "") -> bool:
        """Note that it serves, shown by that line if one was read; False if it did before."""
        if self.ready:
            return False
        self.ready = self.recognised = True
        self.ready_stamp, self.ready_line = self.stamp, shown
        self.phase, self.phase_line = EnginePhase.SERVING, self.ready_line
        self.findings.survived_start()
        self.tracebacks.survived()
        if self.asked is not None:
            self.asked_before_ready, self.asked, self.asked_line = self.asked_line, None, ""
        return True

    def _request(self, line: Line, match: Match) -> None:
        path, status = match.captures["path"] or "", (match.captures["status"] or "")[:1]
        refused = status in ("2", "4") and self.tracebacks.by_the_server
        if (status == "2" and not self.over) or (refused and self.findings.are_placed):
            self.come_up(shorten(line.text))
        self.served.take_one(path, shorten(line.text), answered=status == "2")

    def _stats(self, line: Line, match: Match) -> None:
        if not self.over:
            self.come_up(shorten(line.text))
        moved = any(to_float(match.captures[n] or "0") for n in ("prompt_rate", "generation_rate"))
        self._count(int(match.captures["running"] or 0), shorten(line.text), moved=moved)

    def _count(self, running: int, line: str, *, moved: bool) -> None:
        self.served.count(running, line, moved=moved)
        if moved and self.tracebacks.deadly is None:
            self.findings.survived_work(self.stamp)

    def _blocked(self, line: Line) -> None:
        if not self.over:
            self.served.wait(shorten(line.text), ready=self.ready)

    def _stop(self, line: Line, signature: Signature) -> None:
        if signature.failure is FailureClass.SHUTDOWN_OPEN_CONNECTION:
            self.waited_for_connections = True
        if signature.kind is SignatureKind.STOP:
            self.stop_line = self.stop_line or shorten(line.text)
        elif self.asked is None or signature.failure is FailureClass.SHUTDOWN_DRAIN:
            self.asked = signature.failure
            self.asked_line = shorten(line.text)
            self.asked_stamp = self.stamp
            self._forgive_those_who_died_of_the_stop(line.stamp)
        if self.ready and self.stopping:
            self.phase = EnginePhase.STOPPING

    def _forgive_those_who_died_of_the_stop(self, stamp: str) -> None:
        found = self.findings.by_weight()
        if not self.ready or not found or found[0].weight < WRAPPER:
            return
        if seconds_between(found[0].stamp, stamp) <= SAME_STOP_SECONDS:
            self.findings.drop_wrappers()
            self.tracebacks.survived()
