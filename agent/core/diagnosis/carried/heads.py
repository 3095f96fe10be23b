# SPDX-License-Identifier: Apache-2.0
"""A few lines that somebody wrote down, none of them in vLLM's own form: a second reading.

A prefix is learned from the lines that vLLM or Python begins itself (carriers.py). Where none is
such a one, the exception itself is the head. And who writes of an exception may put it first, and
behind it the frames that Python prints before it.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import field

from agent.core.diagnosis.placement.frames import is_exception
from agent.core.record import dataclass

MAX_LINES = 40
"""Lines that are kept to be read again: what is longer has a line of vLLM's own."""

_HEAD = re.compile(
    r"(?:^|[\s:|\]>)\"-])(?=(?:[a-z_]\w{0,40}\.){0,6}[A-Z]\w{0,60}(?:Error|Exception): \S)"
)
_LONGEST = 200
_FRAME = re.compile(r'\s{0,12}File "[^"]{1,400}", line \d{1,7}, in ')


@dataclass(slots=True)
class Heads:
    """The last lines of a log of which nothing was understood so far."""

    _lines: deque[str] = field(default_factory=lambda: deque(maxlen=MAX_LINES))
    told: bool = False
    """A line had vLLM's own form: the others are read as they stand."""

    def take(self, raw: str, *, own: bool) -> None:
        """Keep a line; `own`: it has vLLM's form."""
        self.told = self.told or own
        self._lines.append(raw)

    def lines(self) -> list[str]:
        """Return them from where an exception begins, if one does; [] where none does.

        A traceback has heads of its own, from which a prefix is learned.
        """
        if self.told or any("Traceback (most" in raw or 'File "' in raw for raw in self._lines):
            return []
        cut = [_from_its_head(raw) for raw in self._lines]
        return cut if cut != list(self._lines) else []

    def turned(self) -> list[str]:
        """Return them with the exception that they begin with behind its frames; [] otherwise."""
        lines = [line for line in self._lines if line.strip()]
        if self.told or any("Traceback (most" in line for line in lines):
            return []
        first = next((n for n, line in enumerate(lines) if _FRAME.match(line) is not None), 0)
        ends = [n for n, line in enumerate(lines) if is_exception(line.strip(), within=False)]
        if not first or len(ends) != 1 or ends[0] > first:
            return []
        return [*lines[first:], lines[ends[0]].strip(), *lines[ends[0] + 1 : first]]


def _from_its_head(raw: str) -> str:
    found = _HEAD.search(raw, 0, _LONGEST)
    return raw if found is None else raw[found.end() :].rstrip("\r\n\"|' ")
