# SPDX-License-Identifier: Apache-2.0
"""What is remembered of what an operator asked: a pause, a planned restart, a drain."""

from __future__ import annotations

from collections.abc import Iterable

from agent.core.record import dataclass


@dataclass(frozen=True, slots=True)
class Pause:
    """Until `until`, in agent time, the agent watches and tells, and does not act.

    `by` names who asked ("root"), `since` is when, in agent time.
    """

    since: float
    until: float
    by: str


def pause_in_force(pauses: Iterable[Pause | None], at: float) -> Pause | None:
    """Return the pause that ends last of those that are in force at this agent time."""
    in_force = [pause for pause in pauses if pause is not None and at < pause.until]
    return max(in_force, key=lambda pause: pause.until, default=None)


@dataclass(frozen=True, slots=True)
class PlannedRestart:
    """A restart that waits for a time of day, for a moment without requests, or for both.

    `not_before` is the next time that it is due, in agent time. `time_of_day` is the local time
    in seconds since midnight, None for "at once". It is over once done unless `every_day`.
    """

    since: float
    by: str
    not_before: float
    time_of_day: float | None = None
    when_idle: bool = False
    every_day: bool = False

    def __str__(self) -> str:
        day = "" if self.time_of_day is None else f"at {clock_face(self.time_of_day)}"
        every = "every day" if self.every_day else ""
        idle = "when no request runs or waits" if self.when_idle else ""
        return " ".join(part for part in (every, day, idle) if part) or "now"


@dataclass(frozen=True, slots=True)
class Drain:
    """The service is stopped once no request runs or waits; at `not_after` at the latest."""

    since: float
    not_after: float
    by: str


def clock_face(seconds: float) -> str:
    """Return a time of day, given in seconds since midnight, as "03:00"."""
    minutes = int(seconds) // 60
    return f"{minutes // 60 % 24:02d}:{minutes % 60:02d}"
