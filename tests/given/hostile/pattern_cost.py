# SPDX-License-Identifier: Apache-2.0
"""How many steps a backtracking engine can need for a pattern, from its parsed form.

An upper bound, counted as a person would: each place where a match may begin, each way in which a
repeat may end, and what must still be tried behind each of them. What follows a repeat ends it in
one way only when it cannot be part of the repeat.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from re import _constants as c  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

from tests.given.hostile.pattern_parts import (
    ALL,
    WORD,
    Item,
    Items,
    TooManyWaysError,
    characters,
    first,
    nullable,
    single,
)

LINE = 32_768
"""Characters of the longest line that is read."""

SLOW = 10
"""Steps that giving back one character costs where no letter stands behind a repeat.

Python looks for a letter behind it in a loop of C; for anything else it enters the matcher again.
"""

STEPS_OF_20_MS = 1.3e7
"""Measured: at most 1.5 ns a step."""


@dataclass
class Work:
    """`ways` in which the text may have been matched up to here, `steps` that this took."""

    ways: float
    steps: float = 0.0


def steps_of(pattern: re.Pattern[str], *, anchored: bool = False, line: int = LINE) -> float:
    """Return the most steps that a search in a line of so many characters can take.

    `anchored`: it is only ever used to match at one place. Raises TooManyWaysError for a repeat
    within a repeat.
    """
    items = list(_parser.parse(pattern.pattern, pattern.flags))
    at_start = anchored or _anchored(items)
    work = Work(1.0 if at_start else float(line))
    _sequence(items, work, ALL, last=True)
    return work.steps


def _optional(item: Item) -> bool:
    op, value = item
    return op in (c.MAX_REPEAT, c.MIN_REPEAT) and value[0] == 0


def _anchored(items: Items) -> bool:
    if not items:
        return False
    op, value = items[0]
    if op is c.AT:
        return value in (c.AT_BEGINNING, c.AT_BEGINNING_STRING)
    if op is c.SUBPATTERN:
        return _anchored(list(value[3]))
    if op is c.BRANCH:
        return all(_anchored(list(branch)) for branch in value[1])
    return False


def _sequence(
    items: Items,
    work: Work,
    behind: frozenset[str],
    *,
    before: Item | None = None,
    last: bool = False,
) -> None:
    """Add the work of a sequence; `last`: it ends the pattern, so what it ends in is a success."""
    index = 0
    while index < len(items):
        if last and all(_optional(item) for item in items[index:]):
            work.ways = 1.0  # the search has succeeded: nothing before is tried again
        run = index
        while run < len(items) and items[run][0] is c.LITERAL:
            run += 1
        if run > index:
            text = [value for _, value in items[index:run]]
            work.steps += work.ways
            work.ways = work.ways / _period(text, items[run:]) + 1
            index = run
            continue
        before = items[index - 1] if index else before
        rest = items[index + 1 :]
        ends = last and all(_optional(item) for item in rest)
        quick = bool(rest) and rest[0][0] is c.LITERAL
        _item(items[index], work, first(rest, behind), before, last=ends, quick=quick)
        index += 1


def _item(
    item: Item,
    work: Work,
    following: frozenset[str],
    before: Item | None,
    *,
    last: bool,
    quick: bool,
) -> None:
    op, value = item
    match op:
        case c.AT if value in (c.AT_BEGINNING, c.AT_BEGINNING_STRING):
            work.steps += work.ways
            work.ways = 1.0
        case c.ANY | c.IN | c.NOT_LITERAL | c.CATEGORY | c.LITERAL:
            work.steps += work.ways
        case c.AT | c.GROUPREF:
            work.steps += work.ways
        case c.SUBPATTERN:
            _sequence(list(value[3]), work, following, before=before, last=last)
        case c.ATOMIC_GROUP:
            _sequence(list(value), work, following, last=last)
        case c.ASSERT | c.ASSERT_NOT:
            inner = Work(work.ways)
            _sequence(list(value[1]), inner, ALL)
            work.steps += inner.steps
        case c.BRANCH:
            ways = 0.0
            for branch in value[1]:
                part = Work(work.ways)
                _sequence(list(branch), part, following, last=last)
                work.steps += part.steps
                ways += part.ways
            work.ways = max(1.0, ways)
        case c.MAX_REPEAT | c.MIN_REPEAT | c.POSSESSIVE_REPEAT:
            _repeat(op, value, work, following, before, quick=quick or last)
        case _:
            raise TooManyWaysError(f"{op} is not allowed in a pattern")


def _repeat(
    op: Any,
    value: Any,
    work: Work,
    following: frozenset[str],
    before: Item | None,
    *,
    quick: bool,
) -> None:
    least, most, inner = value
    items = list(inner)
    length = min(int(most), LINE)
    one = single(items)
    if one is None:
        _repeat_group(items, least, length, work, following)
        return
    in_words = before == (c.AT, c.AT_BOUNDARY) and one <= WORD
    starts = min(work.ways, LINE / length + 1) if in_words else work.ways
    work.steps += starts * length * (1 if quick else SLOW)
    if op is c.POSSESSIVE_REPEAT or not one & following:
        work.ways = starts
    else:
        work.ways = starts * (length - int(least) + 1)


def _repeat_group(
    items: Items, least: int, most: int, work: Work, following: frozenset[str]
) -> None:
    again = following | first(items, frozenset())
    distinct = not first(items, frozenset()) & following and not nullable(items)
    total = Work(0.0 if least else work.ways, work.steps)
    once = Work(work.ways)
    for done in range(1, most + 1):
        before, steps = once.ways, once.steps
        _sequence(items, once, again)
        total.ways += once.ways
        if once.ways == before:  # each further time costs what this one did
            once.steps += (once.steps - steps) * (most - done)
            total.ways += once.ways * (most - done)
            break
        if once.ways > before * 1.01 + 2 and most > 40:
            raise TooManyWaysError("a repeat within a repeat can be divided in many ways")
        if once.steps > 1e12:
            break
    total.steps += once.steps
    work.steps = total.steps
    work.ways = once.ways + work.ways if distinct else max(1.0, total.ways)


def _period(text: Sequence[int], behind: Items) -> int:
    """Return the least distance between two places of one text where these characters stand.

    `behind` are the items that must follow them.
    """
    for shift in range(1, len(text)):
        if text[shift:] == text[:-shift]:
            return shift
    distance = len(text)
    for op, value in behind:
        repeated = op in (c.MAX_REPEAT, c.MIN_REPEAT, c.POSSESSIVE_REPEAT)
        one = single(list(value[2])) if repeated else characters(op, value)
        if one is None or chr(text[0]) in one:
            break
        distance += int(value[0]) if repeated else 1
    return distance
