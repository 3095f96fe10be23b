# SPDX-License-Identifier: Apache-2.0
"""Virtual time: it jumps to the next thing that is to happen."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Final

EVENING: Final = 1_000_000.0
"""When every night begins."""


class Clockwork:
    """A queue of what is to happen; seconds, like the agent's own time."""

    def __init__(self, now: float) -> None:
        self.now = now
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0

    def at(self, time: float, do: Callable[[], None]) -> None:
        """Have something done at a time; things of the same time happen in the order asked."""
        self._order += 1
        heapq.heappush(self._due, (max(time, self.now), self._order, do))

    def after(self, seconds: float, do: Callable[[], None]) -> None:
        """Have something done some seconds from now."""
        self.at(self.now + seconds, do)

    def run_until(self, end: float) -> None:
        """Let everything happen that is due before `end`."""
        while self._due and self._due[0][0] <= end:
            self.now, _, do = heapq.heappop(self._due)
            do()
        self.now = end
