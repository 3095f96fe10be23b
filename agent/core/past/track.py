# SPDX-License-Identifier: Apache-2.0
"""One thing's numbers of the last hours: a ring for each of its columns, filled in place."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from agent.core.record import dataclass

STEP_SECONDS = 60
STEPS = 720
"""Twelve hours of minutes: 2,880 bytes a column."""

RING_BYTES = 4 * STEPS

T = TypeVar("T")

Reading = float | tuple[float, float] | None
"""A value; or two counters, of which the step's value is the growth of one by that of the other."""

NOTHING = math.nan


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """A column's name with its unit, and how it is read of a thing at an agent time.

    `highest`: of several values within a step the highest counts, else the last. `most` is the
    highest value that there can be.
    """

    name: str
    read: Callable[[T, float], Reading]
    highest: bool = False
    most: float = math.inf


class Track(Generic[T]):
    """The columns of one thing. `take` is for one thread, `values` for any."""

    def __init__(self, columns: Sequence[Column[T]], step: int) -> None:
        """Begin in this step: all before is not known."""
        self._columns = columns
        self._rings = [array("f", [NOTHING]) * STEPS for _ in columns]
        self._begun: list[tuple[float, float] | None] = [None] * len(columns)
        self._last: list[tuple[float, float] | None] = [None] * len(columns)
        self._step = step

    def take(self, thing: T, at: float, step: int) -> None:
        """Take what is read of the thing now; `step` never goes back."""
        self.advance(step)
        slot = step % STEPS
        for number, column in enumerate(self._columns):
            value = self._value(number, column.read(thing, at))
            if value is None:
                continue
            ring = self._rings[number]
            value = min(value, column.most)
            if not column.highest or not value < ring[slot]:
                ring[slot] = value

    def advance(self, step: int) -> None:
        """Begin this step, if it has not begun; those that nobody saw are not known."""
        if step <= self._step:
            return
        for missed in range(max(self._step, step - STEPS) + 1, step + 1):
            for ring in self._rings:
                ring[missed % STEPS] = NOTHING
        self._begun = list(self._last)
        self._step = step

    def _value(self, number: int, reading: Reading) -> float | None:
        if not isinstance(reading, tuple):
            self._last[number] = None
            return reading
        last, self._last[number] = self._last[number], reading
        begun = self._begun[number]
        if begun is None or last is None or reading[0] < last[0] or reading[1] < last[1]:
            # The first of it, or a counter that began anew: what was before says nothing.
            self._begun[number] = reading
            return None
        grown = reading[1] - begun[1]
        return (reading[0] - begun[0]) / grown if grown > 0 else None

    def as_bytes(self) -> bytes:
        """Return the rings one after the other, as this machine writes a float of 4 bytes."""
        return b"".join(ring.tobytes() for ring in self._rings)

    def fill(self, rings: bytes) -> None:
        """Take what `as_bytes` gave. Raises ValueError for another length."""
        if len(rings) != RING_BYTES * len(self._rings):
            raise ValueError("not as many rings as columns")
        for number, ring in enumerate(self._rings):
            ring[:] = array("f", rings[number * RING_BYTES : (number + 1) * RING_BYTES])

    def values(self, first: int, last: int) -> Iterator[tuple[str, list[float | None]]]:
        """Yield each column that has any value with its values of these steps, both included."""
        for column, ring in zip(self._columns, self._rings, strict=True):
            steps = range(max(first, last - STEPS + 1), last + 1)
            found = [_known(ring[step % STEPS]) for step in steps]
            if any(value is not None for value in found):
                yield column.name, found


def _known(value: float) -> float | None:
    """Return the value in five digits: what a plot can show, in a short text."""
    return float(f"{value:.5g}") if math.isfinite(value) else None
