# SPDX-License-Identifier: Apache-2.0
"""Bare lines of a file without times that may be the rest of what a client said.

A journal tells by its times which lines came in one write. A file does not: there a bare line
behind one that may quote a client is taken for the rest of it, unless it begins as libraries,
systemd and the shell begin what they print, and behind a quotation that was left open even then.
Behind a request that was answered, and behind the statistics, nothing is quoted.
"""

from __future__ import annotations

import re

from agent.core.diagnosis.lines import Line
from agent.core.diagnosis.usual import usual
from agent.core.record import dataclass

_QUOTES_NOTHING = re.compile(r"(?:loggers|metrics|stats|launcher|shm_broadcast)\.py:")
"""Modules of vLLM that print nothing of a request, at any level."""

_OF_ITS_END = re.compile(
    r"(?:core|core_client|multiproc_executor|multiproc_worker_utils|worker_base|ray_\w{1,40}|engine"
    r"|async_llm|async_llm_engine|llm_engine|dump_input)\.py:"
)
"""Modules whose errors are of the engine itself: what a terminal breaks of them goes on bare."""

_OF_ITSELF = re.compile(
    r"Traceback \(most recent call last\):|  File \"|Process \w|Exception in thread|"
    r"(?:The above|During handling of the above) exception|-- Boot |[\w.-]{1,80} exited with code "
)
"""How Python, the journal and compose begin what follows from a process's end."""


@dataclass(slots=True)
class Followers:
    """Follows one log without times; `rest` tells of the line that was taken last.

    `native` is what libraries begin their own lines with.
    """

    native: re.Pattern[str]
    rest: bool = False
    """It may be a client's, although it stands by itself."""

    _may_quote: bool = False
    _open: bool = False

    def forget(self) -> None:
        """Take note of lines that quote nothing."""
        self._may_quote = self._open = self.rest = False

    def took(self, *, may_quote: bool, is_open: bool) -> None:
        """Take note of a line in vLLM's own form, or of a client's, as `take` would."""
        self._may_quote, self._open, self.rest = may_quote, may_quote and is_open, False

    def take(self, line: Line, *, a_clients: bool) -> None:
        """Take a line of a server that clients reach; `a_clients`: it may hold their words."""
        if line.level or line.process or line.carrier or a_clients:
            self.rest, self._open = False, False
            self._may_quote = a_clients or not speaks_of_itself(line)
            if self._may_quote:
                self._may_quote = usual(line.shown) is None
                self._open = self._may_quote and line.text.count('"') % 2 == 1
        elif self._may_quote and not self._open and self._is_native(line.text):
            self.forget()
        else:
            self.rest = self._may_quote

    def _is_native(self, text: str) -> bool:
        return self.native.match(text) is not None or _OF_ITSELF.match(text) is not None


def speaks_of_itself(line: Line) -> bool:
    """Tell whether a record is of a module that quotes nothing of a request."""
    if _QUOTES_NOTHING.match(line.source) is not None:
        return True
    return line.level == "ERROR" and _OF_ITS_END.match(line.source) is not None
