# SPDX-License-Identifier: Apache-2.0
"""The last lines of a log whose lines are taken many at once: only those that stay are cut out."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from agent.core.diagnosis.familiar.blocks import Block
from agent.core.diagnosis.familiar.forms import Form
from agent.core.diagnosis.lines import TAIL_CHARACTERS
from agent.core.diagnosis.reader import OF_A_CLIENT, TAIL_LINES
from agent.core.record import dataclass


@dataclass(frozen=True, slots=True)
class _Lines:
    """Lines of a block between two places: how many, and each one's form by its shape.

    Lines of one form have one length, and no shapes.
    """

    block: Block
    at: int
    after: int
    count: int
    form: Form
    forms: Mapping[str, Form]
    shapes: Sequence[str]

    def shown(self) -> list[str]:
        """Return what people see of the last ones."""
        at = self.at
        if not self.shapes:
            at = max(at, self.after - (self.after - at) // self.count * TAIL_LINES)
        lines = self.block.last_lines(at, self.after, TAIL_LINES)
        if not self.shapes:
            return [self.form.shown_of(line) for line in lines]
        pairs = zip(self.shapes[-TAIL_LINES:], lines, strict=True)
        return [self.forms[shape].shown_of(line) for shape, line in pairs]


class Tails:
    """What is to be added to the last lines, in order: lines, or that a client is quoted (None)."""

    def __init__(self) -> None:
        self._parts: list[_Lines | None] = []

    def add_run(self, form: Form, block: Block, at: int, after: int, count: int) -> None:
        """Add lines of one form between two places."""
        self._add(_Lines(block, at, after, count, form, {}, ()))

    def add_lines(
        self, forms: Mapping[str, Form], shapes: Sequence[str], block: Block, at: int, after: int
    ) -> None:
        """Add lines between two places, each of the form of its shape."""
        form = forms[shapes[0]]
        self._add(_Lines(block, at, after, len(shapes), form, forms, shapes))

    def _add(self, lines: _Lines) -> None:
        if lines.count >= TAIL_LINES:
            self._parts.clear()
        self._parts.append(lines)

    @property
    def are_few(self) -> bool:
        """Whether no more than one block is needed for what is to be added."""
        return len(self._parts) < 2

    def add_client(self) -> None:
        """Add that a client is quoted, once for all lines in which it is."""
        if not self._parts or self._parts[-1] is not None:
            self._parts.append(None)

    def flush(self, tail: deque[str]) -> None:
        """Add what stays to the last lines."""
        first, lines = len(self._parts), 0
        while first and lines < TAIL_LINES:
            first -= 1
            part = self._parts[first]
            lines += 1 if part is None else part.count
        for part in self._parts[first:]:
            if part is not None:
                tail.extend(line.strip()[:TAIL_CHARACTERS] for line in part.shown())
            elif not (tail and tail[-1] == OF_A_CLIENT):
                tail.append(OF_A_CLIENT)
        self._parts.clear()
