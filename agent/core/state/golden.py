# SPDX-License-Identifier: Apache-2.0
"""The answer of a model to a fixed question, kept to tell when it answers otherwise."""

from __future__ import annotations

import math
from dataclasses import dataclass

from agent.core.engine.answers import Completion

LONGEST_TEXT = 200
MOST_NUMBERS = 128
MOST_TOKENS = 64
LONGEST_SHOWN = 60
NUMBERS_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Answer:
    """The beginning of a text with its token ids, or the first numbers of an embedding.

    `tokens` is () where the engine does not say them (before 0.10.2), and in answers that were
    kept before they were asked for.
    """

    text: str = ""
    numbers: tuple[float, ...] = ()
    tokens: tuple[int, ...] = ()

    @property
    def shown(self) -> str:
        """The answer as the verification list and the history have it."""
        if not self.numbers:
            return repr(self.text[:LONGEST_SHOWN])
        first = ", ".join(f"{number:.4g}" for number in self.numbers[:NUMBERS_SHOWN])
        return f"[{first}{', ...' if len(self.numbers) > NUMBERS_SHOWN else ''}]"


@dataclass(frozen=True, slots=True)
class Golden:
    """An answer with the model, engine and cards that gave it, and when it was first given."""

    at: float
    given_by: str
    answer: Answer


def answer_of(values: Completion | tuple[float, ...] | str) -> Answer:
    """Return what is kept of an answer."""
    if isinstance(values, Completion):
        return Answer(text=values.text[:LONGEST_TEXT], tokens=values.token_ids[:MOST_TOKENS])
    if isinstance(values, str):
        return Answer(text=values[:LONGEST_TEXT])
    return Answer(numbers=values[:MOST_NUMBERS])


def same(one: Answer, other: Answer, noise: float) -> bool:
    """Tell whether two answers are the same but for the noise of rounding.

    `noise` is the share of an answer's length that rounding may move it by. Token ids are compared
    where both have them, as several ids may spell one text; else the texts.
    """
    if bool(one.numbers) != bool(other.numbers):
        return False
    if one.numbers:
        return distance(one, other) <= noise
    if one.tokens and other.tokens:
        return one.tokens == other.tokens
    return one.text == other.text


def distance(one: Answer, other: Answer) -> float:
    """Return how far apart two rows of numbers are, as a share of the longer one's length.

    Not the angle between them alone: of one number, such as a score, it is always 0. What is
    between 0 and 1 counts as at least a tenth long: near 0 a probability is the tail of a curve,
    of which rounding moves much as a share and nothing that matters.
    """
    if len(one.numbers) != len(other.numbers):
        return math.inf
    apart = math.dist(one.numbers, other.numbers)
    longer = max(math.hypot(*one.numbers), math.hypot(*other.numbers))
    if all(0 <= number <= 1 for number in (*one.numbers, *other.numbers)):
        longer = max(longer, 0.1)
    return apart / longer if longer else 0.0


def both_shown(before: Answer, now: Answer) -> tuple[str, str]:
    """Return both answers for a person, so that they do not look alike where they differ."""
    if before.shown != now.shown:
        return before.shown, now.shown
    if before.numbers:
        return before.shown, f"{now.shown} ({distance(before, now):.1%} away)"
    place = _first_other(before.text, now.text)
    if place is not None:
        after = f"after {place} characters "
        return (
            after + repr(before.text[place:][:LONGEST_SHOWN]),
            after + repr(now.text[place:][:LONGEST_SHOWN]),
        )
    token = _first_other(before.tokens, now.tokens) or 0
    of = f"with token {token + 1} of {before.shown} being"
    return f"{of} {_id_at(before, token)}", f"{of} {_id_at(now, token)}"


def _first_other(one: str | tuple[int, ...], other: str | tuple[int, ...]) -> int | None:
    """Return the first place where two rows differ, None where they are equal."""
    if one == other:
        return None
    alike = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(alike) if a != b), min(len(one), len(other)))


def _id_at(answer: Answer, place: int) -> str:
    return str(answer.tokens[place]) if place < len(answer.tokens) else "none"
