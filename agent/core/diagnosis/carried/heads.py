# SPDX-License-Identifier: Apache-2.0
"""Lines behind a prefix that no rule knows, where no line of the log tells what it is.

A prefix is learned from the lines that vLLM or Python begins itself (carriers.py). Of a few lines,
none of which is such a one, nothing can be learned: there the exception itself is the head.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field

MAX_LINES = 40
"""Lines that are kept to be read again: what is longer has a line of vLLM's own."""

_HEAD = re.compile(
    r"(?:^|[\s:|\]>)\"-])(?=(?:[a-z_]\w{0,40}\.){0,6}[A-Z]\w{0,60}(?:Error|Exception): \S)"
)
_LONGEST = 200


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


def _from_its_head(raw: str) -> str:
    found = _HEAD.search(raw, 0, _LONGEST)
    return raw if found is None else raw[found.end() :].rstrip("\r\n\"|' ")
