# SPDX-License-Identifier: Apache-2.0
"""The rest of a client's record, as the traceback of each bad request: it comes again and again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from agent.core.diagnosis.familiar.blanks import shape_of
from agent.core.diagnosis.familiar.blocks import Block
from agent.core.diagnosis.familiar.forms import Form
from agent.core.record import dataclass


@dataclass(frozen=True, slots=True)
class Rest:
    """Lines of one process that go on with its record: their shapes, and the last one's form.

    `source` is that of the record whose prefix stands before each, "" where they have none.
    """

    shape: str
    count: int
    last: Form
    process: str
    origin: str
    source: str

    def is_of(self, process: str, origin: str, source: str) -> bool:
        """Tell whether it is a rest of the same kind of record of the same process."""
        return (process, origin, bool(source)) == (self.process, self.origin, bool(self.source))

    def is_marked(self, text: str, marks: list[str], at: int = 0) -> bool:
        """Tell whether each mark stands in a text, from a place on, as often as it has lines."""
        after = at + len(self.shape)
        return all(text.count(mark, at, after) == self.count for mark in marks)


@dataclass(slots=True)
class Rests:
    """Takes the rests of records; the last one is known again at a glance, also in two blocks."""

    _known: Rest | None = None
    _left: str = ""
    """The shapes of it that the next block begins with, where this one ended within it."""

    def forget(self) -> None:
        """Look at each line again: forms are learned anew."""
        self._known, self._left = None, ""

    def take(
        self,
        block: Block,
        at: int,
        stop: int,
        most: int,
        first: tuple[Form, str, str],
        forms: Mapping[str, Form | None],
    ) -> Rest:
        """Return the lines from a place on that go on with a record, at most so many.

        `first` is the form of the first of them, its process and its source.
        """
        form, process, source = first
        marks = _marks(form, process, source)
        again = self._again(block, at, stop, most, first)
        if again is not None and again.is_marked(block.text, marks, at):
            return again
        last, after, count = form, at, 0
        while after < stop and count < most:
            line = block.line_at(after)
            found = forms.get(block.shape_at(after))
            found = None if found is None else found.of(line)
            if found is None or found.origin != form.origin:
                break
            if source and (found.process_of(line), found.source_of(line)) != (process, source):
                break
            if not source and count and found.goes_on != process:
                break
            last, after, count = found, after + len(line) + 1, count + 1
            if not source and form.goes_on is None:
                break
        rest = Rest(block.shape[at:after], count, last, process, form.origin, source)
        if rest.is_marked(rest.shape, list(map(shape_of, marks))) and not self._holds(rest):
            self._known = rest
        return rest

    def _again(
        self, block: Block, at: int, stop: int, most: int, first: tuple[Form, str, str]
    ) -> Rest | None:
        """Return the rest that is known, or the part of it that this block has."""
        (form, process, source), known, left = first, self._known, self._left
        self._left = ""
        if known is None or not known.is_of(process, form.origin, source):
            return None
        if block.shape.startswith(known.shape, at):
            after = at + len(known.shape)
            return known if known.count <= most and after <= stop else None
        shape = left if left and block.shape.startswith(left, at) else ""
        here = len(block.shape) - at
        if not shape and here < len(known.shape) and known.shape.startswith(block.shape[at:]):
            shape, self._left = block.shape[at:], known.shape[here:]
        count = shape.count("\n")
        if not shape or count > most or at + len(shape) > stop:
            return None
        return replace(known, shape=shape, count=count)

    def _holds(self, rest: Rest) -> bool:
        known = self._known
        same = known is not None and known.is_of(rest.process, rest.origin, rest.source)
        return rest.count < 2 or (same and known is not None and rest.shape in known.shape)


def _marks(form: Form, process: str, source: str) -> list[str]:
    """Return what stands once in each line, and has numbers by which lines are told apart."""
    named = [f"({process} pid="] if form.process is None else []
    return [*form.marks, *named, *([f" [{source}]"] if source else [])]
