# SPDX-License-Identifier: Apache-2.0
"""Lines of a text by their places in it, without a list of them: runs of known ones are passed."""

from __future__ import annotations

from collections.abc import Mapping

from agent.core.diagnosis.familiar.blanks import shape_of
from agent.core.diagnosis.familiar.forms import Form

AT_ONCE = 32
"""Lines of one shape that are compared at once."""


class Block:
    """A text without the end of its last line, and its shape, which has the same places."""

    def __init__(self, text: str) -> None:
        self.text, self.shape = text, shape_of(text)

    def end(self, at: int) -> int:
        """Return where the line that begins there ends."""
        stop = self.shape.find("\n", at)
        return stop if stop >= 0 else len(self.shape)

    def same_shape(self, at: int, form: Form) -> tuple[int, int]:
        """Return where the lines of one shape and process that follow each other end: how many."""
        shape, line = self.shape, self.shape[at : self.end(at)]
        one, after, count = f"{line}\n", at + len(line) + 1, 1
        if not shape.startswith(one, after):
            return after, count
        many = one * AT_ONCE
        while shape.startswith(many, after):
            after, count = after + len(many), count + AT_ONCE
        while shape.startswith(one, after):
            after, count = after + len(one), count + 1
        if form.process is None and not self._same_name(at, after, len(one), form):
            return at + len(one), 1
        return after, count

    def _same_name(self, at: int, after: int, length: int, form: Form) -> bool:
        """Tell whether lines of one shape have the same digits in the name of their process."""
        begin, end = form.named
        columns = (self.text[at + place : after : length] for place in range(begin, end))
        return all(column == column[0] * len(column) for column in columns)

    def last_lines(self, at: int, after: int, most: int) -> list[str]:
        """Return the last lines of those between two places at which lines begin."""
        length = self.end(at) - at + 1
        return self.text[max(at, after - most * length) : after - 1].split("\n")

    def same_head(
        self, known: Mapping[str, Form | None], at: int, head: str
    ) -> tuple[int, int, str]:
        """Return where the known lines that begin so end, how many they are, and the last one."""
        stop = self.end(at)
        after, count, line = stop + 1, 1, self.text[at:stop]
        while self.text.startswith(head, after):
            stop = self.end(after)
            form = known.get(self.shape[after:stop])
            if form is None or form.text != len(head):
                break
            after, count, line = stop + 1, count + 1, self.text[after:stop]
        return after, count, line

    def bare(
        self, known: Mapping[str, Form | None], at: int, form: Form, most: int
    ) -> tuple[int, int, Form]:
        """Return where lines of one process without a prefix, that begin nothing, end.

        Then how many they are, no more than `most`, and the form of the last.
        """
        after, count, last = self.end(at) + 1, 1, form
        if form.goes_on is None or after > len(self.shape):
            return after, count, last
        shapes = self.shape[after:].split("\n", most - 1)[: most - 1]
        for shape, next_ in zip(shapes, map(known.get, shapes), strict=True):
            if next_ is None or next_.goes_on != form.goes_on:
                break
            after, count, last = after + len(shape) + 1, count + 1, next_
        return after, count, last
