# SPDX-License-Identifier: Apache-2.0
"""What all lines of one shape are, by themselves: who wrote them, and where their words begin.

Only a line that nothing carried, with no colour, secret, quotation of a page or access line in it,
has a form; every other one is read for itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

from agent.core.diagnosis.carried.pasted import plain
from agent.core.diagnosis.familiar.blanks import Blanks, shape_of
from agent.core.diagnosis.lines import Line, clean_lines
from agent.core.diagnosis.provenance import REQUEST_LINES, Provenance, is_access
from agent.core.diagnosis.tracebacks import EXCEPTION_WORD, OF_A_TRACE
from agent.core.diagnosis.usual import usual
from agent.core.diagnosis.writing.followers import speaks_of_itself
from agent.core.diagnosis.writing.writers import Writers
from agent.core.secrets import may_hold_a_secret

LONGEST = 600
"""Characters of a line that may have a form; a longer one is rare."""

_MARKS = ("&", "\\_", "**", "m(", "[0m", "[0;0m", "#000", "^M", "==> ")
_HEADS = ('"', "{")
"""What is undone, taken off or looked at before a line is read (pasted.py, lines.py)."""

_DIGIT = re.compile(r"\d")


class Words(Enum):
    """Whose words lines of a form are, where no record claims them."""

    ENGINE = auto()
    """vLLM's own, and they say nothing."""

    CLIENT = auto()
    """A client's: a record begins here."""

    ASK = auto()
    """They may say something, and must be read: only within a client's record they are nothing."""


@dataclass(frozen=True, slots=True)
class Form:
    """What is the same of all lines of a shape; (begin, end) are places in the line.

    `rest` are bare lines that may go on with a record that begins here. `process` is None where its
    name has a number, and stands at `named`. `source` is None where the line has no prefix.
    """

    words: Words
    rest: int
    process: str | None
    named: tuple[int, int]
    source: tuple[int, int] | None
    shown: int
    text: int
    width: int
    odd_quotes: bool
    of_itself: bool
    level: str
    goes_on: str | None = None
    """Its process, of a line without a prefix that can only go on with what is open."""

    def process_of(self, raw: str) -> str:
        """Return whose line it is; "" where it names nobody."""
        return raw[self.named[0] : self.named[1]] if self.process is None else self.process

    def source_of(self, raw: str) -> str:
        """Return the module and line that wrote it; "" where it names none."""
        return raw[self.source[0] : self.source[1]] if self.source is not None else ""


def form_of(raw: str, provenance: Provenance, blanks: Blanks, *, ready: bool) -> Form | None:
    """Return the form of a line, None where it must be read for itself."""
    writers = provenance.writers
    line = _as_it_is(raw)
    if writers is None or line is None or is_access(writers, line.text):
        return None
    end = raw.rstrip()
    shown, text = len(end) - len(line.shown), len(end) - len(line.text)
    named = _place(end, f"({line.process} pid=", 1, len(line.process)) if line.process else (0, 0)
    source = _place(end, f"{line.source}]", 0, len(line.source)) if line.source else None
    if min(shown, text) < 0 or named is None or (line.source and source is None):
        return None
    if _DIGIT.search(line.source.partition(":")[0]) or end[shown:] != line.shown:
        return None
    words, rest = _words_of(line, provenance, writers, blanks, ready=ready)
    process = None if _DIGIT.search(line.process) else line.process
    return Form(
        words,
        rest,
        process,
        named,
        source,
        shown,
        text,
        line.width,
        line.text.count('"') % 2 == 1,
        speaks_of_itself(line),
        line.level,
        process if words is Words.ASK and not line.level else None,
    )


def _as_it_is(raw: str) -> Line | None:
    """Return the one clean line in a raw one that holds nothing else, and that nothing carried."""
    odd = not (raw.isascii() and raw.isprintable()) or len(raw) > LONGEST or not raw.strip()
    if odd or may_hold_a_secret(raw) or usual(raw):
        return None
    shape = shape_of(raw)
    if shape.startswith(_HEADS) or any(mark in shape for mark in _MARKS) or plain(raw) != raw:
        return None
    lines = list(clean_lines(raw))
    line = lines[0]
    return (
        line if len(lines) == 1 and not line.carrier and raw.rstrip().endswith(line.text) else None
    )


def _place(text: str, marked: str, begin: int, length: int) -> tuple[int, int] | None:
    at = text.find(marked)
    return None if at < 0 else (at + begin, at + begin + length)


def _words_of(
    line: Line, provenance: Provenance, writers: Writers, blanks: Blanks, *, ready: bool
) -> tuple[Words, int]:
    if not line.level:
        begins = writers.request_head.match(line.text) is not None
        return (Words.CLIENT, REQUEST_LINES) if begins else (Words.ASK, 0)
    rest = provenance.rest_of(writers, line, ready=ready)
    if rest is not None:
        return Words.CLIENT, rest
    told = line.text.lstrip(" ").startswith(OF_A_TRACE) or "Traceback" in line.text
    told = told or EXCEPTION_WORD.search(line.text) is not None
    nothing = not told and blanks.say_nothing(shape_of(line.text))
    return (Words.ENGINE if nothing else Words.ASK), 0
