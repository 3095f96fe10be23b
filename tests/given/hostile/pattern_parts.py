# SPDX-License-Identifier: Apache-2.0
"""What characters the parts of a parsed pattern stand for, on a sample of all characters."""

from __future__ import annotations

from collections.abc import Sequence
from re import _constants as c  # type: ignore[attr-defined]
from typing import Any

SAMPLE = "".join(map(chr, range(1, 127))) + "é█…٣\u00a0"
"""One character at least of each kind that a pattern tells apart."""

WORD = frozenset(ch for ch in SAMPLE if ch.isalnum() or ch == "_")
ALL = frozenset(SAMPLE)

Item = tuple[Any, Any]
Items = Sequence[Item]


class TooManyWaysError(ValueError):
    """Tells which part of a pattern can end in too many ways."""


def single(items: Items) -> frozenset[str] | None:
    """Return the characters of what is one character long, None for anything else."""
    if len(items) != 1:
        return None
    op, value = items[0]
    if op is c.SUBPATTERN:
        return single(list(value[3]))
    return characters(op, value)


def characters(op: Any, value: Any) -> frozenset[str] | None:
    """Return the characters of one item, None for what is no single character."""
    match op:
        case c.LITERAL:
            return frozenset({chr(value)})
        case c.NOT_LITERAL:
            return ALL - {chr(value)}
        case c.ANY:
            return ALL - {"\n"}
        case c.IN:
            return _class(value)
        case _:
            return None


def _class(parts: Items) -> frozenset[str]:
    found: set[str] = set()
    negated = False
    for op, value in parts:
        match op:
            case c.NEGATE:
                negated = True
            case c.LITERAL:
                found.add(chr(value))
            case c.RANGE:
                found |= {ch for ch in SAMPLE if value[0] <= ord(ch) <= value[1]}
            case c.CATEGORY:
                found |= _category(value)
            case _:
                raise TooManyWaysError(f"{op} is not allowed in a class")
    return ALL - found if negated else frozenset(found)


def _category(value: Any) -> frozenset[str]:
    digits = frozenset(ch for ch in SAMPLE if ch.isdigit())
    blanks = frozenset(ch for ch in SAMPLE if ch.isspace())
    return {
        c.CATEGORY_DIGIT: digits,
        c.CATEGORY_NOT_DIGIT: ALL - digits,
        c.CATEGORY_SPACE: blanks,
        c.CATEGORY_NOT_SPACE: ALL - blanks,
        c.CATEGORY_WORD: WORD,
        c.CATEGORY_NOT_WORD: ALL - WORD,
    }[value]


def first(items: Items, behind: frozenset[str]) -> frozenset[str]:
    """Return with what characters a text can go on that must match these items."""
    found: frozenset[str] = frozenset()
    for op, value in items:
        match op:
            case c.AT if value in (c.AT_END, c.AT_END_STRING):
                return found
            case c.AT | c.ASSERT | c.ASSERT_NOT:
                continue
            case c.SUBPATTERN:
                found |= first(list(value[3]), frozenset())
                if not nullable(list(value[3])):
                    return found
            case c.ATOMIC_GROUP:
                found |= first(list(value), frozenset())
                if not nullable(list(value)):
                    return found
            case c.BRANCH:
                for branch in value[1]:
                    found |= first(list(branch), frozenset())
                if not any(nullable(list(branch)) for branch in value[1]):
                    return found
            case c.MAX_REPEAT | c.MIN_REPEAT | c.POSSESSIVE_REPEAT:
                found |= first(list(value[2]), frozenset())
                if value[0] > 0 and not nullable(list(value[2])):
                    return found
            case _:
                return found | (characters(op, value) or ALL)
    return found | behind


def nullable(items: Items) -> bool:
    """Tell whether nothing at all matches these items."""
    for op, value in items:
        match op:
            case c.AT | c.ASSERT | c.ASSERT_NOT:
                continue
            case c.SUBPATTERN:
                if not nullable(list(value[3])):
                    return False
            case c.ATOMIC_GROUP:
                if not nullable(list(value)):
                    return False
            case c.BRANCH:
                if not any(nullable(list(branch)) for branch in value[1]):
                    return False
            case c.MAX_REPEAT | c.MIN_REPEAT | c.POSSESSIVE_REPEAT:
                if value[0] > 0 and not nullable(list(value[2])):
                    return False
            case _:
                return False
    return True
