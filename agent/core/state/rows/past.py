# SPDX-License-Identifier: Apache-2.0
"""Remembered times by another clock than that of now.

Within one boot the kernel's own clock tells by how much the wall clock was set between two
processes of the agent: all remembered times are moved by that, so that no wait ends early or late.
Over a boot only the wall clock is known. A host without a battery for its clock may boot hours or
years ahead until NTP sets it back. What happened is then taken as past: each thing's times are
moved by as much as its newest is ahead, so that what lies between them stays, and a wait is never
longer than it was meant to be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

T = TypeVar("T")

COUNTED = "last_at"
"""Up to when an error was counted: one in the future says nothing, and all is counted again."""

AHEAD = frozenset({"retry_at", "not_before", "read_for", "not_after", "until", "too_hot_until"})
"""Times until which something waits: they lie ahead by their nature."""

TIMES = frozenset({"at", "since", "recent_starts", "incidents", "faults"})
"""Names of times, besides those that end in _at or _since."""

NOT_STORED = frozenset({"live"})

LEAST_SECONDS = 1.0
"""NTP's slewing moves the clock by less between two processes; no wait is that exact."""


def by_the_clock_of_now(remembered: T, set_by: float, now: float) -> T:
    """Return what is remembered of a thing once the wall clock was set ahead by so many seconds.

    Up to when errors were counted stays: the journal's own times of them were not moved either. A
    restart at a time of day is one by the clock as it is now.
    """
    moved: T = _shifted(remembered, "", set_by) if abs(set_by) >= LEAST_SECONDS else remembered
    return in_the_past(moved, now)


def in_the_past(remembered: T, now: float) -> T:
    """Return what is remembered of a service or a card with no time of what happened after now."""
    ahead = _newest(remembered, "") - now
    moved: T = _moved(remembered, "", now, ahead) if ahead > 0 else remembered
    return moved


def is_time(name: str) -> bool:
    """Tell whether a stored field of this name is when something happened, in agent time."""
    return name not in AHEAD and (name in TIMES or name.endswith(("_at", "_since")))


def _newest(value: Any, name: str) -> float:
    if isinstance(value, float | int) and not isinstance(value, bool):
        return float(value) if is_time(name) else 0.0
    return max((_newest(part, of) for of, part in _parts(value, name)), default=0.0)


def _moved(value: Any, name: str, now: float, ahead: float) -> Any:
    def moved(value: float, name: str) -> float:
        if name == COUNTED and value > now:
            return 0.0
        if name in AHEAD:
            return max(0.0, value - ahead)
        return max(0.0, min(now, value - ahead)) if is_time(name) and value > now else value

    return _with_each(value, name, moved)


def _shifted(value: Any, name: str, set_by: float) -> Any:
    def shifted(value: float, name: str) -> float:
        moves = value > 0.0 and name != COUNTED and (name in AHEAD or is_time(name))
        return max(0.0, value + set_by) if moves else value

    return _with_each(value, name, shifted)


def _by_the_wall(change: Callable[[float, str], float]) -> Callable[[float, str], float]:
    """Return the change of a thing that waits for a time of day: that is not moved."""
    return lambda value, name: value if name in AHEAD else change(value, name)


def _with_each(value: Any, name: str, change: Callable[[float, str], float]) -> Any:
    """Return the value with each number below it as `change` gives it for the name of its field."""
    if isinstance(value, float | int) and not isinstance(value, bool):
        return change(value, name)
    if isinstance(value, tuple):
        return tuple(_with_each(part, name, change) for part in value)
    if isinstance(value, Mapping):
        return {key: _with_each(part, name, change) for key, part in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        if getattr(value, "time_of_day", None) is not None:
            change = _by_the_wall(change)
        parts = {of: _with_each(part, of, change) for of, part in _parts(value, name)}
        changed = {of: part for of, part in parts.items() if part != getattr(value, of)}
        return replace(value, **changed) if changed else value
    return value


def _parts(value: Any, name: str) -> list[tuple[str, Any]]:
    if isinstance(value, tuple):
        return [(name, part) for part in value]
    if isinstance(value, Mapping):
        return [(name, part) for part in value.values()]
    if is_dataclass(value) and not isinstance(value, type):
        own = [f.name for f in fields(value) if f.name not in NOT_STORED]
        return [(of, getattr(value, of)) for of in own]
    return []
