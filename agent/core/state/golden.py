# SPDX-License-Identifier: Apache-2.0
"""The answer of a model to a fixed question, kept to tell when it answers otherwise."""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_TEXT = 200
MOST_NUMBERS = 128


@dataclass(frozen=True, slots=True)
class Answer:
    """The beginning of a text, or the first numbers of an embedding."""

    text: str = ""
    numbers: tuple[float, ...] = ()

    @property
    def shown(self) -> str:
        """The answer as the verification list and the history have it."""
        if not self.numbers:
            return repr(self.text[:60])
        first = ", ".join(f"{number:.4g}" for number in self.numbers[:4])
        return f"[{first}, ...]"


@dataclass(frozen=True, slots=True)
class Golden:
    """An answer with the model, engine and cards that gave it, and when it was first given."""

    at: float
    given_by: str
    answer: Answer


def answer_of(values: tuple[float, ...] | str) -> Answer:
    """Return what is kept of an answer."""
    if isinstance(values, str):
        return Answer(text=values[:LONGEST_TEXT])
    return Answer(numbers=values[:MOST_NUMBERS])
