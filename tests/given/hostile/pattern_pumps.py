# SPDX-License-Identifier: Apache-2.0
"""Texts that cost a pattern most, made of the pattern itself.

A backtracking engine is slow where a repeat goes on for long and what must follow it then is not
there. So for each part of a pattern that repeats, the texts are: what leads to it, then as much as
it takes of each kind of character that it takes, then an end that fits nothing; and the ways to it
again and again, so that every place looks like a beginning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from re import _constants as c  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

from tests.given.hostile.pattern_parts import ALL, Items, characters

LONG = 40
"""A repeat of at most so many is part of what leads to the others."""
ENDS = ("", "\x01", "\n\x01", "!")
PREFERRED = "a0 _.-/:=\"'A\t\n"
KINDS = 5
"""So many characters of what a repeat takes stand for all."""


def pumps(pattern: re.Pattern[Any], length: int) -> Iterator[str]:
    """Yield texts of about `length` characters, each once."""
    text = pattern.pattern
    items = _parser.parse(text.decode("latin-1") if isinstance(text, bytes) else text)
    seen: set[str] = set()
    for lead, units in (("", tuple(PREFERRED)), *_places(list(items), "")):
        for unit in units:
            again = unit * (length // len(unit))
            both = (lead + unit) * (length // len(lead + unit))
            for made in (*(lead + again + end for end in ENDS), both, again + lead + "\x01"):
                if made not in seen:
                    seen.add(made)
                    yield made


def _places(items: Items, lead: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield what leads to each repeat, and what it may be filled with."""
    for op, value in items:
        match op:
            case c.MAX_REPEAT | c.MIN_REPEAT | c.POSSESSIVE_REPEAT:
                inner = list(value[2])
                if value[1] > LONG:
                    yield lead, _fillings(inner)
                yield from _places(inner, lead)
            case c.SUBPATTERN:
                yield from _places(list(value[3]), lead)
            case c.ATOMIC_GROUP:
                yield from _places(list(value), lead)
            case c.BRANCH:
                for branch in value[1]:
                    yield from _places(list(branch), lead)
            case c.ASSERT | c.ASSERT_NOT:
                yield from _places(list(value[1]), lead)
        lead += _sample([(op, value)])
    if lead:
        yield lead, (lead, lead[-1])


def _fillings(items: Items) -> tuple[str, ...]:
    if len(items) == 1 and (one := characters(*items[0])) is not None:
        chosen = [ch for ch in PREFERRED if ch in one] or sorted(one)
        return tuple(chosen[:KINDS])
    return tuple(dict.fromkeys((_sample(items) or "a", _sample(items, more=True) or "a")))


def _sample(items: Items, *, more: bool = False) -> str:
    """Return a short text that matches these items; with `more`, one with what may be absent."""
    made = ""
    for op, value in items:
        match op:
            case c.MAX_REPEAT | c.MIN_REPEAT | c.POSSESSIVE_REPEAT:
                times = max(int(value[0]), int(more and value[1] > 0))
                made += _sample(list(value[2]), more=more) * times
            case c.SUBPATTERN:
                made += _sample(list(value[3]), more=more)
            case c.ATOMIC_GROUP:
                made += _sample(list(value), more=more)
            case c.BRANCH:
                made += _sample(list(value[1][-1 if more else 0]), more=more)
            case c.AT | c.ASSERT | c.ASSERT_NOT | c.GROUPREF:
                continue
            case _:
                one = characters(op, value) or ALL
                made += next((ch for ch in PREFERRED if ch in one), "") or min(one, default="a")
    return made
