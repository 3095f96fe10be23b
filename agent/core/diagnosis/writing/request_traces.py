# SPDX-License-Identifier: Apache-2.0
"""Tracebacks of a server at work: of its engine, or of a library that a client's data upset.

asyncio, websockets, Pillow and the like print what a request threw as Python prints anything that
was thrown. Only a traceback that goes through vLLM's engine, or what computes for it, can be a
death of ours; another one ends in a client's words.
"""

from __future__ import annotations

import re
from dataclasses import field

from agent.core.diagnosis.lines import Line
from agent.core.record import dataclass

MAX_TRACES = 64
"""Processes whose tracebacks are told apart; of a bigger host's others nothing is said."""

HEAD = "Traceback (most recent call last):"
_BETWEEN = ("During handling of the above", "The above exception was the direct")


@dataclass(slots=True)
class RequestTraces:
    """The tracebacks that are being printed, by process.

    Of each: where its record comes from ("" where it has none), and whether it goes through the
    engine (None: no frame of it was seen).
    """

    _open: dict[str, tuple[str, bool | None]] = field(default_factory=dict)

    @property
    def any(self) -> bool:
        """Whether any process is printing one."""
        return bool(self._open)

    def has(self, line: Line) -> bool:
        """Tell whether the line's process is printing a traceback in the line's own form."""
        return line.process in self._open and self._open[line.process][0] == line.source

    def drop(self, line: Line) -> bool:
        """Forget the traceback of the line's process; tell whether there was one."""
        return self._open.pop(line.process, None) is not None

    def take(self, line: Line, engine_frames: re.Pattern[str]) -> bool | None:
        """Follow one line; None where it is of no traceback, else whether a client's words end it.

        What ends a traceback is the exception itself, which is not indented.
        """
        text = line.text
        if text.startswith(HEAD) or (text.endswith(HEAD) and not self.has(line)):
            if len(self._open) < MAX_TRACES or line.process in self._open:
                self._open[line.process] = (line.source, None)
            return False
        if line.process not in self._open:
            return None
        source, of_the_engine = self._open[line.process]
        if source != line.source:
            if line.level:
                del self._open[line.process]
            return None
        if text.startswith((" ", "|", *_BETWEEN)):
            if 'File "' in text and not of_the_engine:
                found = engine_frames.search(text) is not None
                self._open[line.process] = (source, found)
            return False
        del self._open[line.process]
        return of_the_engine is False
