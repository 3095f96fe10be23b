# SPDX-License-Identifier: Apache-2.0
"""The answer of a model to a fixed question, kept to tell when it answers otherwise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType

from agent.core.engine.answers import Completion, Done
from agent.core.record import dataclass

LONGEST_TEXT = 200
MOST_NUMBERS = 128
MOST_TOKENS = 64
LONGEST_SHOWN = 60
NUMBERS_SHOWN = 4

SHORTEST_SHARE = 0.1
SHORTEST_LOGITS = 3.0
LOGITS_MOVE = 2.0
"""Logits count as at least so long, as rounding moves them by a share of the sums that they come
from, however near to 0 these end; and it moves them by so many times the share of an embedding. In
bfloat16 those of networks of 6 to 28 layers with random weights differed by 0.4 to 5.6 % of their
length of 6 to 8 between ways to compute attention, alone and in a batch of 8 (torch 2.13, 12 of
them)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The beginning of a text with its token ids, or the first numbers of an embedding.

    `tokens` is () where the engine does not say them (before 0.10.2), and in answers that were
    kept before they were asked for. So is `logits`: what scores, probabilities and rewards were
    before their activation, () of anything else.
    """

    text: str = ""
    numbers: tuple[float, ...] = ()
    tokens: tuple[int, ...] = ()
    logits: tuple[float, ...] = ()

    @property
    def shown(self) -> str:
        """The answer as the verification list and the history have it."""
        if not self.numbers:
            return repr(self.text[:LONGEST_SHOWN])
        if self.logits in ((), self.numbers):
            return _first_of(self.numbers)
        return f"{_first_of(self.numbers)}, before the activation {_first_of(self.logits)}"

    def adds_to(self, kept: Answer) -> bool:
        """Tell whether it says more than the same answer as it was kept earlier."""
        return (bool(self.tokens) and not kept.tokens) or (bool(self.logits) and not kept.logits)


_NO_ANSWERS: Mapping[str, Answer] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Golden:
    """An answer with the model, engine and cards that gave it, and when it was first given.

    `adapters` are those of the LoRA adapters beside the model, by name.
    """

    at: float
    given_by: str
    answer: Answer
    adapters: Mapping[str, Answer] = field(default_factory=lambda: _NO_ANSWERS)


def answer_of(given: Completion | Done) -> Answer:
    """Return what is kept of an answer."""
    if isinstance(given, Completion):
        return Answer(text=given.text[:LONGEST_TEXT], tokens=given.token_ids[:MOST_TOKENS])
    if isinstance(given.values, str):
        return Answer(text=given.values[:LONGEST_TEXT])
    return Answer(numbers=given.values[:MOST_NUMBERS], logits=given.logits[:MOST_NUMBERS])


def same(one: Answer, other: Answer, noise: float) -> bool:
    """Tell whether two answers are the same but for the noise of rounding.

    `noise` is the share of an answer's length that rounding may move it by. Token ids are compared
    where both have them, as several ids may spell one text; else the texts. Logits are where both
    have them: of 0.9997 and 0.9933 they are 8 and 5.
    """
    if bool(one.numbers) != bool(other.numbers):
        return False
    if one.logits and other.logits:
        return distance(one, other) <= LOGITS_MOVE * noise
    if one.numbers:
        return distance(one, other) <= noise
    if one.tokens and other.tokens:
        return one.tokens == other.tokens
    return one.text == other.text


def distance(one: Answer, other: Answer) -> float:
    """Return how far apart two rows of numbers are, as a share of the longer one's length.

    Of the logits where both have them, as in `same`.
    Not the angle between them alone: of one number, such as a score, it is always 0. What is
    between 0 and 1 counts as at least a tenth long: near 0 a probability is the tail of a curve,
    of which rounding moves much as a share and nothing that matters.
    """
    if one.logits and other.logits:
        return _apart(one.logits, other.logits, SHORTEST_LOGITS)
    both = (*one.numbers, *other.numbers)
    is_share = all(0 <= number <= 1 for number in both)
    return _apart(one.numbers, other.numbers, SHORTEST_SHARE if is_share else 0.0)


def _apart(one: tuple[float, ...], other: tuple[float, ...], shortest: float) -> float:
    if len(one) != len(other):
        return math.inf
    longer = max(math.hypot(*one), math.hypot(*other), shortest)
    return math.dist(one, other) / longer if longer else 0.0


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


def _first_of(numbers: tuple[float, ...]) -> str:
    first = ", ".join(f"{number:.4g}" for number in numbers[:NUMBERS_SHOWN])
    return f"[{first}{', ...' if len(numbers) > NUMBERS_SHOWN else ''}]"


def _first_other(one: str | tuple[int, ...], other: str | tuple[int, ...]) -> int | None:
    """Return the first place where two rows differ, None where they are equal."""
    if one == other:
        return None
    alike = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(alike) if a != b), min(len(one), len(other)))


def _id_at(answer: Answer, place: int) -> str:
    return str(answer.tokens[place]) if place < len(answer.tokens) else "none"
