# SPDX-License-Identifier: Apache-2.0
"""Follows the tracebacks of all processes that share a log: where they were, what they ended in."""

from __future__ import annotations

import re
from dataclasses import field

from agent.core.diagnosis.lines import Line
from agent.core.diagnosis.placement.frames import frame_of, is_exception
from agent.core.diagnosis.placement.thrown import Thrown, own_words, told_of
from agent.core.diagnosis.signatures import Match, SignatureKind, When
from agent.core.diagnosis.usual import Usual
from agent.core.diagnosis.writing.bystanders import FRAMES
from agent.core.failures.classes import EnginePhase
from agent.core.record import dataclass

MAX_PROCESSES = 64
"""Processes whose tracebacks are followed at once; a bigger host shares one record beyond it."""

EXCEPTION_WORD = re.compile(r"(?:Error|Exception|Timeout|Fault)\b|^(?:[a-z_]\w*\.)+[A-Z]\w*:")
OF_A_TRACE = ("Traceback", 'File "', "During handling of", "The above exception")

MAX_TEXT = 1200
MAX_HEAD = 200
"""Characters in which uvicorn's word of a request is looked for."""
INDENTED = 3
"""Spaces before an exception's line; code has four."""

MAX_FRAMES = 48
"""Frames of a traceback that are kept: the innermost."""

MAX_STRAY = 60
"""Lines after which a traceback that shows no frame any more is taken as cut off."""

_NOT_A_CAUSE = re.compile(
    r"^(?:[\w.]+\.)?(?:SystemExit|KeyboardInterrupt|CancelledError|GeneratorExit)"
    r"|^(?:openai|litellm)\.(?:\w+\.)*\w+Error\b"
)
_NO_CAUSE = frozenset(
    {SignatureKind.NOISE, SignatureKind.ASKED, SignatureKind.STOP, SignatureKind.WRAPPER}
)
_HARMLESS = ("Exception in thread", "Exception ignored", "--- Logging error ---")
_OF_THE_SERVER = "Exception in ASGI application"
"""uvicorn's word of one request, which any logger may have before it."""
_NOT_DEADLY = frozenset({"DEBUG", "INFO", "WARNING"})
_INSIDE = re.compile(r'^ +(?:File ".+", line \d+(?:, in |$)|raise \w)|^File ".+", line \d+, in ')
"""What only stands within a traceback, whose head may be cut off."""

_QUOTED = re.compile(
    r"Worker failed with error ['\"](.{1,1000}?)['\"], please check|"
    r"^\w*(?:Error|Exception): Call to \w{1,60} method failed: (.{1,1000})$|"
    r"^\w*Error\(['\"]Error in model execution: (.{1,1000}?)['\"]\)$"
)
"""A process that says what another one died of: the other's words count, not the place of these."""

_REASON = re.compile(r"\s{0,8}(?:Value error|Assertion failed), (.{1,1200}?)(?: \[type=|$)")
"""Why a setting was refused: pydantic's line below "1 validation error for ModelConfig"."""

_OF_A_REQUEST = re.compile(
    r"(?:serving(?:_\w+)?|(?=\w*(?:tool|reasoning)_parser)\w+|chat_utils)\.py:"
)
"""Modules of vLLM that log what was wrong with one request."""

_OF_THE_ENGINE = re.compile(r"engine\.py:")
"""MQLLMEngine (0.6 to 0.10) logs a traceback there only as its loop ends, by a request at times."""
_AT_WORK = frozenset({"frame-serving", "frame-busy-loop"})
"""Frames of the loop that an engine runs once it has come up."""
_LOOP_ENDED = ("EngineCore encountered a fatal error", "EngineDeadError: EngineCore encountered")
"""vLLM says them only of an engine that had come up (v1/engine/core{,_client}.py, 0.8..0.33)."""


def of_a_request(line: Line) -> bool:
    """Tell whether the line is about one request, whose failure ends nothing."""
    return _OF_A_REQUEST.match(line.source) is not None


def _undented(text: str) -> str:
    """Return an exception's line as Python prints it: some web pages and shippers indent all."""
    bare = text.lstrip(" ")
    return bare if len(text) - len(bare) <= INDENTED else text


def _is_known(line: Line, matches: tuple[Match, ...]) -> bool:
    """Tell whether an exception is known for ending nothing, or for telling of a death only."""
    kinds = {match.signature.kind for match in matches}
    return bool(kinds & _NO_CAUSE) or _NOT_A_CAUSE.match(line.text) is not None


@dataclass(slots=True)
class Traceback:
    """The traceback that a process prints now: ids of known frames and what they were doing.

    `path` are its frames as "module.py:function", outermost first, `code` the last line of code
    that it quotes, `stray` the lines since. `instead` is true where this exception came while
    another was handled: then the last one tells more, else the first.
    """

    frames: set[str] = field(default_factory=set)
    path: list[str] = field(default_factory=list)
    code: str = ""
    stray: int = 0
    instead: bool = False
    phase: EnginePhase | None = None
    open: bool = False
    harmless: bool = False
    chained: bool = False
    """Another traceback of the same exception comes next; `first` and `before` tell of all."""
    first: int = 0
    """The number of the line at which the chain begins."""
    before: str | None = None
    """The exception that had been deadly when the chain began."""
    forgiven: bool = False
    """What is said now belongs to an exception that ended nothing."""
    mild: bool = False
    """It is printed as less than an error."""
    raised: str = ""
    """The line of code that raises, where the innermost frame quotes one."""
    fatal: bool = False
    called: bool = False
    """A call failed, which ends a server at work only where a step of the engine made it."""
    refused: bool = False
    """The line before was pydantic's headline, whose reason comes next."""


@dataclass(slots=True)
class Tracebacks:
    """Tracebacks by process; `deadly` is the last exception of the first process that died.

    `at_work` tells that an engine which had come up threw one: a part of a log may not show that.
    """

    engine_exceptions: re.Pattern[str] | None = None
    """The names of exceptions whose words are not those of a request, None where all are so."""

    deadly: str | None = None
    at_work: bool = False
    bare: Thrown | None = None
    """The last exception in a log in which nobody has spoken in vLLM's own form so far."""

    _spoke: bool = False
    _process: str = ""
    _unfinished: bool = False
    _by_process: dict[str, Traceback] = field(default_factory=dict)

    def of(self, process: str) -> Traceback:
        """Return the traceback that the process is printing, or printed last."""
        if process not in self._by_process and len(self._by_process) >= MAX_PROCESSES:
            process = ""
        return self._by_process.setdefault(process, Traceback())

    def shown(self, phase: EnginePhase | None) -> EnginePhase | None:
        """Return the phase that lines have shown; the engine's loop ends only when it serves."""
        return phase or (EnginePhase.SERVING if self.at_work else None)

    def phase_of(self, process: str, phase: EnginePhase | None) -> EnginePhase | None:
        """Return the phase in which the process threw; `phase`: what the lines have shown."""
        return self.of(process).phase or self.shown(phase)

    @property
    def by_the_server(self) -> bool:
        """Whether the process that threw first is the one that answers requests."""
        return self.deadly is not None and self._process.startswith(("APIServer", "ApiServer"))

    @property
    def cut_off(self) -> Traceback | None:
        """Return the first traceback of an error that has no end; None if all do."""
        traces = (t for t in self._by_process.values() if t.open and t.path)
        return next((t for t in traces if not (t.mild or t.harmless or t.frames & FRAMES)), None)

    def within(self, process: str) -> bool:
        """Tell whether the process is in the middle of a traceback."""
        trace = self._by_process.get(process)
        return trace is not None and trace.open

    def is_idle(self, said: Usual) -> bool:
        """Tell whether the process is known, and nothing of a traceback of its is awaited."""
        trace = self._by_process.get(said.process)
        if trace is None or (said.own and not self._spoke):
            return False
        return not (trace.open or trace.refused or self._unfinished)

    def take(
        self, line: Line, matches: tuple[Match, ...], *, ready: bool, number: int = 0
    ) -> Thrown | None:
        """Follow one line; before `ready` every uncaught exception ends the run, and is given.

        `number` counts the lines, as `Thrown.forgiven_since` does.
        """
        text = line.text
        trace = self.of(line.process)
        trace.forgiven = trace.forgiven and text.startswith(" ")
        self._spoke = self._spoke or bool(line.level or line.process)
        if not self._spoke:
            own = is_exception(text, within=False) and not _is_known(line, matches)
            if said := text.strip() if own else told_of(text):
                self.bare = Thrown(said[:MAX_TEXT], (), instead=False)
        if self._unfinished and self.deadly is not None:
            self.deadly = f"{self.deadly} {text.strip()}"[:MAX_TEXT]
            self._unfinished = False
        if trace.refused and (reason := _REASON.match(text)) is not None:
            trace.refused = False
            said = f"ValueError: {reason.group(1)}"[:MAX_TEXT]
            return Thrown(said, tuple(trace.path), instead=False, refusal=True)
        trace.refused = not ready and "validation error" in text
        if text.startswith(_HARMLESS) or _OF_THE_SERVER in text[:MAX_HEAD]:
            trace.harmless = True
        if "Traceback (most" in text:
            self._begin(trace, number)
            trace.fatal = trace.fatal or _OF_THE_ENGINE.match(line.source) is not None
        elif text.startswith("During handling of the above exception"):
            trace.instead = trace.chained = True
        elif text.startswith("The above exception was the direct cause"):
            trace.instead, trace.chained = False, True
        elif _INSIDE.match(text) is not None:
            self._go_deeper(trace, text)
        elif trace.open:
            self._follow(trace, text)
        trace.mild = trace.open and (trace.mild or line.level in _NOT_DEADLY)
        for match in matches:
            if match.signature.kind is SignatureKind.FRAME:
                trace.frames.add(match.signature.id)
                if not (match.signature.weak and trace.phase is not None):
                    trace.phase = match.signature.phase or trace.phase
                trace.fatal |= trace.called and match.signature.phase is EnginePhase.SERVING
            elif match.signature.when is When.START and ready:
                trace.called |= match.signature.kind is SignatureKind.WRAPPER
            elif match.signature.kind is SignatureKind.WRAPPER:
                trace.fatal = trace.fatal or not is_exception(text, within=False)
                self.at_work = self.at_work or any(said in text for said in _LOOP_ENDED)
        printed = line.level == "ERROR" or bool(line.process and not line.level)
        told = trace.open or trace.fatal or (printed and not ready)
        if told and is_exception(_undented(text) if trace.open else text, within=trace.open):
            return self._end(line, trace, matches, ready=ready)
        return None

    def _begin(self, trace: Traceback, number: int) -> None:
        if not trace.chained:
            trace.first, trace.before = number, self.deadly
        trace.chained = False
        trace.frames.clear()
        trace.path.clear()
        trace.phase = None
        trace.code = ""
        trace.stray = 0
        trace.open = True

    @staticmethod
    def _go_deeper(trace: Traceback, text: str) -> None:
        if not trace.open:
            trace.path.clear()
        trace.open = True
        trace.stray = 0
        trace.code = ""
        frame = frame_of(text) or frame_of(f"{text}, in <module>")  # of code that is no Python
        trace.raised = text.strip()[:MAX_TEXT] if frame is None else ""
        if frame is not None:
            trace.path.append(frame)
            del trace.path[:-MAX_FRAMES]

    @staticmethod
    def _follow(trace: Traceback, text: str) -> None:
        trace.stray += 1
        if text.startswith("    ") and not trace.code:
            trace.code = text.strip()[:MAX_TEXT]
        if trace.stray > MAX_STRAY:
            trace.open = False

    def _end(
        self, line: Line, trace: Traceback, matches: tuple[Match, ...], *, ready: bool
    ) -> Thrown | None:
        kinds = {match.signature.kind for match in matches}
        named = kinds & {SignatureKind.WRAPPER, SignatureKind.NOISE, SignatureKind.ASKED}
        caught = trace.harmless or line.level in _NOT_DEADLY or (ready and not trace.fatal)
        caught = caught or of_a_request(line)
        text, instead = line.text.strip(), trace.instead
        if trace.code and (":" not in text or text.startswith("SyntaxError")):
            text = f"{text}: {trace.code}"
        trace.open = trace.harmless = trace.instead = trace.called = False
        if trace.frames & FRAMES and not (named or trace.fatal or trace.phase):
            self.deadly, self.bare, trace.forgiven = trace.before, None, True
            return Thrown(text[:MAX_TEXT], (), instead=False, forgiven_since=trace.first)
        if named or caught or _NOT_A_CAUSE.match(line.text) is not None:
            return None
        if trace.phase is EnginePhase.SERVING and trace.frames & _AT_WORK:
            self.at_work = True
        if self.deadly is None or self._process == line.process:
            self.deadly, self._process = line.text.strip()[:MAX_TEXT], line.process
            self._unfinished = "validation error" in line.text
        if (quoted := _QUOTED.search(text)) is not None:
            return Thrown(f"RuntimeError: {quoted[quoted.lastindex or 0]}", (), instead)
        if ready and _OF_THE_ENGINE.match(line.source) is not None:
            text = own_words(text, self.engine_exceptions)
        return Thrown(text[:MAX_TEXT], tuple(trace.path), instead)

    def survived(self) -> None:
        """Forget what was printed so far: the run went on."""
        self.deadly, self.at_work, self.bare = None, False, None
        for trace in self._by_process.values():
            trace.fatal = False
