# SPDX-License-Identifier: Apache-2.0
"""Lines of a text by their places, and their shapes: runs of one shape are compared at once."""

from __future__ import annotations

from collections.abc import Container
from itertools import takewhile

from agent.core.diagnosis.familiar.blanks import shape_of
from agent.core.diagnosis.familiar.forms import Form

AT_ONCE = 32
"""Lines of one shape that are compared at once."""

PIECE = 2_048
"""Characters that are taken apart at once."""


class Block:
    """Whole lines, each with its end, and their shapes, which have the same places."""

    def __init__(self, text: str) -> None:
        self.text, self.shape = text, shape_of(text)

    def shape_at(self, at: int) -> str:
        """Return the shape of the line that begins there."""
        return self.shape[at : self.shape.index("\n", at)]

    def line_at(self, at: int) -> str:
        """Return the line that begins there."""
        return self.text[at : self.shape.index("\n", at)]

    def run(self, at: int, stop: int, known: Container[str], form: Form) -> tuple[list[str], int]:
        """Return the known shapes that follow each other from a place on, and their characters.

        All are of the form's writer. The first is taken as one.
        """
        shapes: list[str] = []
        after = at
        while after < stop:
            end = self.shape.rfind("\n", after, min(after + PIECE, stop)) + 1
            piece = self.shape[after : end or self.shape.index("\n", after) + 1].split("\n")[:-1]
            run = [*takewhile(known.__contains__, piece)]
            shapes += run
            after += sum(map(len, run)) + len(run)
            if len(run) < len(piece):
                break
        if form.held:
            lines = self.text[at : after - 1].split("\n")
            for (begin, end), mark in zip(form.held, form.marks, strict=True):
                if {line[begin:end] for line in lines} != {mark}:
                    return shapes[:1], len(shapes[0]) + 1
        return shapes, after - at

    def same_shape(self, at: int, one: str, form: Form, stop: int) -> int:
        """Return how many lines of one shape follow each other that are all of one form.

        `one` is the shape with the line's end. At least one is.
        """
        shape, length = self.shape, len(one)
        after = at + length
        if not shape.startswith(one, after):
            return 1
        many = one * AT_ONCE
        while shape.startswith(many, after):
            after += len(many)
        while shape.startswith(one, after):
            after += length
        after = min(after, stop)
        for begin, end in form.same:
            if not self._have_the_same(at, after, length, begin, end):
                return 1
        return (after - at) // length

    def _have_the_same(self, at: int, after: int, length: int, begin: int, end: int) -> bool:
        """Tell whether lines of one shape have the same digits between two of their places."""
        for place in range(at + begin, at + end):
            if self.text[place].isdecimal():
                column = self.text[place:after:length]
                if column != column[0] * len(column):
                    return False
        return True

    def last_lines(self, at: int, after: int, most: int) -> list[str]:
        """Return the last of the lines between two places."""
        return self.text[at : after - 1].rsplit("\n", most)[-most:]
