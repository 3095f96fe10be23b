# SPDX-License-Identifier: Apache-2.0
"""Lines that a terminal or a log viewer has broken at its edge are put together again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from agent.core.diagnosis.lines import Line
from agent.core.diagnosis.placement.frames import frame_of
from agent.core.diagnosis.signatures import Match, SignatureKind
from agent.core.record import dataclass

WRAP = range(60, 240)
"""Widths at which terminals and log viewers break lines."""

WRAPPED_TEXT = 600
"""Characters of a broken line that are kept to be joined with its rest."""

_BREAKABLE = frozenset({SignatureKind.FAILURE, SignatureKind.WRAPPER, SignatureKind.FRAME})
"""Kinds of lines whose rest, on the next line, can tell more."""

Find = Callable[[str], tuple[Match, ...]]


@dataclass(slots=True)
class Wrapped:
    """The line before, where the next may be its rest: what it said, and whose it was."""

    _text: str = ""
    _process: str = ""

    def forget(self) -> None:
        """Take the next line as one of its own."""
        self._text = self._process = ""

    def keep(self, text: str, process: str, width: int) -> None:
        """Keep a line that stands for itself and says nothing: the next may be its rest."""
        self._process = process
        self._text = text[-WRAPPED_TEXT:] if width in WRAP else ""

    def joined(
        self, line: Line, matches: tuple[Match, ...], find: Find
    ) -> tuple[Line, tuple[Match, ...]]:
        """Return a line as the whole of it and the one before, where only that tells anything.

        It keeps in mind what of it may go on in the next.
        """
        whole = line.text
        if self._text and not line.level and all(match.is_frame for match in matches):
            whole, of_both, told = self._as_rest(line.text, find)
            if told:
                line = replace(line, text=whole, process=line.process or self._process)
                matches = of_both
        may_go_on = all(match.signature.kind in _BREAKABLE for match in matches)
        self._process = line.process
        self._text = whole[-WRAPPED_TEXT:] if line.width in WRAP and may_go_on else ""
        return line, matches

    def _as_rest(self, rest: str, find: Find) -> tuple[str, tuple[Match, ...], bool]:
        head, bare = self._text, rest.lstrip()
        for glue in ("", " "):
            text = f"{head}{glue}{bare}"
            matches = tuple(match for match in find(text) if match.end > len(head))
            if matches or (frame_of(text) is not None and frame_of(head) is None):
                return text, matches, True
        return f"{head}{bare}", (), False
