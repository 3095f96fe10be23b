# SPDX-License-Identifier: Apache-2.0
"""Remembered times that lie in the future: the clock was ahead when they were written.

A host without a battery for its clock may boot hours or years ahead until NTP sets it back. What
happened is then taken as past: each thing's times are moved by as much as its newest is ahead, so
that what lies between them stays, and a wait is never longer than it was meant to be.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    if isinstance(value, float | int) and not isinstance(value, bool):
        if name == COUNTED and value > now:
            return 0.0
        if name in AHEAD:
            return max(0.0, value - ahead)
        return max(0.0, min(now, value - ahead)) if is_time(name) and value > now else value
    if isinstance(value, tuple):
        return tuple(_moved(part, name, now, ahead) for part in value)
    if isinstance(value, Mapping):
        return {key: _moved(part, name, now, ahead) for key, part in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        parts = {of: _moved(part, of, now, ahead) for of, part in _parts(value, name)}
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
