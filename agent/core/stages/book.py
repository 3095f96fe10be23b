# SPDX-License-Identifier: Apache-2.0
"""Adds up how long each stage of one start took, by the times of the lines that mark them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from agent.core.record import dataclass
from agent.core.stages.stage import ORDER, Stage

LATE_RANK = 1
"""A slower rank may end the stage before the one that a faster rank has begun; no stage earlier."""


@dataclass(frozen=True, slots=True)
class StagesSeen:
    """The stages of a start so far. `seconds` are of those that are over, `since` is agent time.

    `now` is None before the first line and once the server is ready.
    """

    now: Stage | None = None
    since: float = 0.0
    seconds: Mapping[Stage, float] = field(default_factory=dict)


NONE_SEEN = StagesSeen()


class StageBook:
    """Takes marks in the order of the log; the time between two belongs to one stage."""

    def __init__(self) -> None:
        self._now: Stage | None = Stage.IMPORTS
        self._at: float | None = None
        self._seconds: dict[Stage, float] = {}

    def begin(self, at: float) -> None:
        """Take note of when the process was started, before any line; a later call is ignored."""
        if self._at is None:
            self._at = at

    def mark(self, ends: Stage | None, begins: Stage | None, at: float) -> None:
        """Take a line that ends a stage, begins one, or both; `ends` None is the one at hand."""
        now = self._now
        if now is None:
            return
        ended = now if ends is None else ends
        if ORDER[ended] < ORDER[now] - LATE_RANK:
            return  # the line of a process that says it once more
        if self._at is not None:
            spent = max(0.0, at - self._at)
            self._seconds[ended] = self._seconds.get(ended, 0.0) + spent
        self._at = at if self._at is None else max(at, self._at)
        after = ended if begins is None else begins
        if ORDER[after] >= ORDER[now]:
            self._now = after

    def ready(self, at: float) -> None:
        """Take the server's "ready", which ends the last stage."""
        self.mark(Stage.SERVER, None, at)
        self._now = None

    @property
    def over(self) -> bool:
        """Whether the server is ready, so that nothing more is added up."""
        return self._now is None

    @property
    def seen(self) -> StagesSeen:
        """What is known so far."""
        return StagesSeen(
            self._now if self._at is not None else None, self._at or 0.0, dict(self._seconds)
        )
