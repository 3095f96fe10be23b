# SPDX-License-Identifier: Apache-2.0
"""What all lines of one shape are, by themselves: who wrote them, and where their words begin.

Only a line with no colour, secret and quotation of a page in it has a form; every other one is read
for itself. What carried it may differ in its numbers, but not in those that name who wrote it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Hashable
from dataclasses import field
from enum import Enum, auto

from agent.core.diagnosis.carried.carriers import Carriers, is_of_the_host
from agent.core.diagnosis.carried.pasted import plain
from agent.core.diagnosis.carried.records import text_of
from agent.core.diagnosis.familiar.blanks import Blanks, shape_of
from agent.core.diagnosis.lines import Line, clean_lines
from agent.core.diagnosis.provenance import REQUEST_LINES, Provenance
from agent.core.diagnosis.tracebacks import EXCEPTION_WORD, OF_A_TRACE
from agent.core.diagnosis.usual import Answers, Statistics, usual
from agent.core.diagnosis.writing.followers import speaks_of_itself
from agent.core.diagnosis.writing.writers import Writers, is_access
from agent.core.record import dataclass
from agent.core.secrets import may_hold_a_secret

LONGEST = 600
"""Characters of a message that may have a form; a longer one is rare."""

LONGEST_RECORD = 2_400
"""Characters of a record that may have one: journalctl's JSON has about 1,200."""

MAX_TWINS = 16
"""Writers whose lines have one shape that are told apart."""

MAX_NAMED = 4
"""Times that a record may name who wrote it."""

_MARKS = ("&", "\\_", "**", "m(", "[0m", "[0;0m", "#000", "^M", "==> ", "\\u")
"""What is undone, taken off or looked at before a line is read."""

_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"')
_DIGIT = re.compile(r"\d")
Span = tuple[int, int]


class Words(Enum):
    """Whose words lines of a form are, where no record claims them."""

    ENGINE = auto()
    """vLLM's own, and they say nothing."""

    CLIENT = auto()
    """A client's: a record begins here."""

    ASK = auto()
    """They may say something, and must be read: only within a client's record they are nothing."""

    ANSWER = auto()
    """A request was answered."""

    COUNT = auto()
    """The statistics of throughput."""


@dataclass(frozen=True, slots=True)
class Form:
    """What is the same of all lines of a shape; (begin, end) are places in the line.

    `rest` are bare lines that may go on with a record that begins here. `process` is None where its
    name has a number, and stands at `named`. `source` is None where the line has no prefix. Behind
    the words come `behind` characters of a record of JSON, where they may be `escaped`.
    """

    words: Words
    rest: int
    process: str | None
    named: Span
    source: Span | None
    shown: int
    text: int
    behind: int
    escaped: bool
    width: int
    odd_quotes: bool
    of_itself: bool
    level: str
    origin: str
    """Who wrote them, as the carrier tells."""
    carrier: str
    """What carried the first of them."""
    held: tuple[Span, ...]
    """Where numbers stand that tell this form from its twins."""
    marks: tuple[str, ...]
    """What stands there."""
    same: tuple[Span, ...]
    """Where all that lines of a run have in common stands."""
    goes_on: str | None = None
    """Its process, of a line without a prefix that can only go on with what is open."""
    answer: Answers | None = None
    """What it tells of a request, without its line."""
    asked: str = ""
    """What was asked and answered: the only text of its shape in the line."""
    twins: dict[tuple[str, ...], Form | None] = field(default_factory=dict)
    """Forms of lines of the same shape that another wrote."""

    @property
    def run(self) -> Hashable:
        """What forms have in common whose lines are taken in one run; None of one by itself."""
        if self.answer is not None:
            kind: Hashable = (self.answer.accepted, self.answer.process)
        elif (kind := self.goes_on) is None:
            return None
        return kind, self.origin, self.held, self.marks

    def process_of(self, raw: str) -> str:
        """Return whose line it is; "" where it names nobody."""
        return raw[self.named[0] : self.named[1]] if self.process is None else self.process

    def source_of(self, raw: str) -> str:
        """Return the module and line that wrote it; "" where it names none."""
        return raw[self.source[0] : self.source[1]] if self.source is not None else ""

    def marks_of(self, raw: str) -> tuple[str, ...]:
        """Return what stands where the form's marks do."""
        return tuple([raw[begin:end] for begin, end in self.held])

    def of(self, raw: str) -> Form | None:
        """Return the form of a line of this shape: this one, a twin, or none that is known."""
        marks = self.marks_of(raw)
        return self if marks == self.marks else self.twins.get(marks)

    def shown_of(self, raw: str) -> str:
        """Return what a person sees of the line."""
        return self._said(raw, self.shown)

    def text_of(self, raw: str) -> str:
        """Return the message alone."""
        return self._said(raw, self.text)

    def _said(self, raw: str, begin: int) -> str:
        said = raw[begin : len(raw) - self.behind]
        if not self.escaped:
            return said
        quotes_only = said.replace('\\"', '"')
        return quotes_only if "\\" not in quotes_only else str(json.loads(f'"{said}"'))


@dataclass(frozen=True, slots=True)
class Around:
    """What a reader knows besides a line, on which its form depends; it only grows.

    `origin` is who wrote the line, as `named` in it tells; `ready`, whether clients reach it.
    """

    provenance: Provenance
    carriers: Carriers
    blanks: Blanks
    origin: str
    named: str
    ready: bool


def form_of(raw: str, around: Around) -> Form | None:
    """Return the form of a line that was read, None where its like must be read for itself."""
    provenance, writers = around.provenance, around.provenance.writers
    line = _as_it_is(raw, around.carriers)
    if writers is None or line is None or not provenance.knows_program_of(line):
        return None
    place = _place_of(raw, line)
    held = _held(raw, around.named)
    if place is None or held is None or is_of_the_host(line.carrier):
        return None
    begin, end = place
    escaped = "\\" in raw[begin:end] and bool(line.recorded)
    text = end - len(_as_json(line.text) if escaped else line.text)
    named = _find(raw, f"({line.process} pid=", begin, 1, len(line.process))
    source = _find(raw, f"{line.source}]", begin, 0, len(line.source)) if line.source else None
    if (line.process and named is None) or (line.source and source is None):
        return None
    if _DIGIT.search(line.source.partition(":")[0]):
        return None
    said, asked = usual(line.shown), ""
    if isinstance(said, Statistics):
        words, rest = Words.COUNT, 0
    elif is_access(writers, line.text):
        odd = not isinstance(said, Answers) or provenance.shapes.are_odd(line, None)
        if odd or not isinstance(said, Answers):
            return None
        asked = raw[raw.rfind(" - ", begin, end) : end]
        if shape_of(raw).count(shape_of(asked)) != 1:
            return None
        said = said._replace(lines=(), carrier=line.carrier, form=line.carrier)
        words, rest = Words.ANSWER, 0
    else:
        words, rest = _words_of(line, around, writers)
    numbered = line.process and _DIGIT.search(line.process) is not None
    process = None if numbered else line.process
    marks = tuple(raw[a:b] for a, b in held)
    return Form(
        words=words,
        rest=rest,
        process=process,
        named=named or (0, 0),
        source=source,
        shown=begin,
        text=text,
        behind=len(raw) - end,
        escaped=escaped,
        width=line.width,
        odd_quotes=line.text.count('"') % 2 == 1,
        of_itself=speaks_of_itself(line),
        level=line.level,
        origin=around.origin,
        carrier=line.carrier,
        held=held,
        marks=marks,
        same=(*held, named) if numbered and named else held,
        goes_on=process if words is Words.ASK and not line.level else None,
        answer=said if isinstance(said, Answers) else None,
        asked=asked,
    )


def _as_it_is(raw: str, carriers: Carriers) -> Line | None:
    """Return the one clean line in a raw one that holds nothing else, without its prefix."""
    odd = not (raw.isascii() and raw.isprintable()) or len(raw) > LONGEST_RECORD or not raw.strip()
    if odd or raw.startswith('"') or any(mark in shape_of(raw) for mark in _MARKS):
        return None
    text = text_of(raw)
    if plain(raw) != raw or may_hold_a_secret(text):
        return None
    if text is not raw and (raw[0] != "{" or _DIGIT.search(_STRING.sub("", raw))):
        return None  # a number by itself may be none: with a 0 before it no JSON is read
    if text is raw and (raw[0] == "{" or (raw[0].isdecimal() and ',"' in raw[:60])):
        return None
    lines = list(clean_lines(raw))
    if len(lines) != 1 or len(lines[0].shown) > LONGEST or not lines[0].text.strip():
        return None
    return carriers.take(lines[0])


def _place_of(raw: str, line: Line) -> Span | None:
    """Return where what is shown of a line stands."""
    if not line.recorded:
        end = len(raw.rstrip())
        begin = end - len(line.shown)
        fits = begin >= 0 and raw[begin:end] == line.shown and line.shown.endswith(line.text)
        return (begin, end) if fits else None
    said = _as_json(line.shown)
    if raw.count(said) != 1 or not line.shown.endswith(line.text):
        return None
    begin = raw.index(said)
    return begin, begin + len(said)


def _as_json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _held(raw: str, name: str) -> tuple[Span, ...] | None:
    """Return where a name stands that has a number, () of another; None where nobody knows."""
    if not _DIGIT.search(name):
        return ()
    begins = [at for at in range(len(raw)) if raw.startswith(name, at)]
    return tuple((at, at + len(name)) for at in begins) if 0 < len(begins) <= MAX_NAMED else None


def _find(text: str, marked: str, begin: int, skip: int, length: int) -> Span | None:
    at = text.find(marked, begin) if length else -1
    return None if at < 0 else (at + skip, at + skip + length)


def _words_of(line: Line, around: Around, writers: Writers) -> tuple[Words, int]:
    if not line.level:
        begins = writers.request_head.match(line.text) is not None
        return (Words.CLIENT, REQUEST_LINES) if begins else (Words.ASK, 0)
    rest = around.provenance.rest_of(writers, line, ready=around.ready)
    if rest is not None:
        return Words.CLIENT, rest
    told = line.text.lstrip(" ").startswith(OF_A_TRACE) or "Traceback" in line.text
    told = told or EXCEPTION_WORD.search(line.text) is not None
    nothing = not told and around.blanks.say_nothing(shape_of(line.text))
    return (Words.ENGINE if nothing else Words.ASK), 0
