# SPDX-License-Identifier: Apache-2.0
"""Whether vLLM put its prefix before what it said at the start: then it does so later, too."""

from __future__ import annotations

from agent.core.diagnosis.lines import Line
from agent.core.record import dataclass

LINES_OF_A_START = 20
"""Lines without a prefix at the beginning of a log by which it is known to have none: what a shell
and Python's warnings say before vLLM's first record is shorter."""


@dataclass(slots=True)
class Prefixes:
    """What the start of one log has shown; a log that shows no start is taken to have them."""

    are_there: bool = True
    _seen: bool = False
    _without: int = 0

    def learn(self, line: Line) -> None:
        """Take note of a line of the start."""
        self._seen = self._seen or bool(line.level)
        self._without += not line.level
        self.are_there = self._seen or self._without < LINES_OF_A_START
