# SPDX-License-Identifier: Apache-2.0
"""Lines of a text by their places in it, without a list of them: runs of known ones are passed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.core.diagnosis.familiar.blanks import shape_of
from agent.core.diagnosis.familiar.forms import Form

AT_ONCE = 32
"""Lines of one shape that are compared at once."""


@dataclass(frozen=True, slots=True)
class Bare:
    """Lines without a prefix that follow each other: the shapes behind the first, the last's form.

    `last` goes on with the process of all of them.
    """

    last: Form
    shapes: list[str] = field(default_factory=list)


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
        places = (n for n in range(*form.named) if self.text[at + n].isdecimal())
        columns = (self.text[at + place : after : length] for place in places)
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
        self, known: Mapping[str, Form | None], at: int, form: Form, most: int, before: Bare
    ) -> tuple[int, Bare]:
        """Return where lines of one process without a prefix, that begin nothing, end; and them.

        They are no more than `most`. What was so before, as the traceback of the request before,
        is so again.
        """
        after, name = self.end(at) + 1, form.goes_on
        if name is None or after > len(self.shape):
            return after, Bare(form)
        shapes = self.shape[after:].split("\n", most - 1)[: most - 1]
        count = len(before.shapes)
        again = before.last.goes_on == name and count < most and shapes[:count] == before.shapes
        count, last = (count, before.last) if again else (0, form)
        for next_ in map(known.get, shapes[count:]):
            if next_ is None or next_.goes_on != name:
                break
            count, last = count + 1, next_
        del shapes[count:]
        return after + sum(map(len, shapes)) + count, Bare(last, shapes)
