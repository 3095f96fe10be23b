# SPDX-License-Identifier: Apache-2.0
"""No number or document of a stranger brings about an exception that nobody thought of.

`int` refuses more than 4,300 digits with ValueError, and "²", which `str.isdigit` takes. The
parsers of TOML and JSON call `int`, so that they raise more than errors of their own.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from re import _parser  # type: ignore[attr-defined]
from typing import Any

import pytest

from tests.given.hostile.patterns_of_agent import Found, patterns, trees

MOST_DIGITS = 4_000
"""Of a number that a pattern finds: `int` takes 4,300."""

BYTES_HAVE_NO_OTHER = "agent.core.engine.metrics"
"""There it is bytes that are asked, which are ASCII and have no `isdecimal`."""

PARSERS = frozenset({"TOMLDecodeError", "JSONDecodeError"})


@pytest.mark.parametrize("found", list(patterns()), ids=lambda found: found.where)
def test_no_pattern_finds_a_number_that_int_refuses(found: Found) -> None:
    pattern = found.pattern
    assert list(_numbers(_parser.parse(pattern.pattern, _flags(pattern)))) == []


def test_no_text_is_asked_for_digits_that_int_refuses() -> None:
    asked = [
        f"{module}:{node.lineno}"
        for module, tree in trees().items()
        if module != BYTES_HAVE_NO_OTHER
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in ("isdigit", "isnumeric")
    ]
    assert asked == [], "take agent.core.numerals.whole_number, or isdecimal"


def test_no_handler_waits_for_the_errors_of_a_parser_alone() -> None:
    alone = [
        f"{module}:{node.lineno}"
        for module, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and node.type is not None
        and (names := _names(node.type)) & PARSERS
        and "ValueError" not in names
    ]
    assert alone == [], "int raises a bare ValueError within the parser: catch that"


def _flags(pattern: Any) -> int:
    return int(pattern.flags) & ~(32 if isinstance(pattern.pattern, bytes) else 0)


def _names(caught: ast.expr) -> set[str]:
    found = set()
    for node in ast.walk(caught):
        found |= {node.id} if isinstance(node, ast.Name) else set()
        found |= {node.attr} if isinstance(node, ast.Attribute) else set()
    return found


def _numbers(parts: Iterable[Any]) -> Iterator[int]:
    """Yield how many digits a group that takes digits alone may find, where they are too many."""
    for kind, what in parts:
        match str(kind):
            case "SUBPATTERN":
                if what[0] is not None and (most := _digits(what[3])) > MOST_DIGITS:
                    yield most
                yield from _numbers(what[3])
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                yield from _numbers(what[2])
            case "BRANCH":
                for branch in what[1]:
                    yield from _numbers(branch)
            case "ASSERT" | "ASSERT_NOT":
                yield from _numbers(what[1])
            case "ATOMIC_GROUP":
                yield from _numbers(what)
            case _:
                pass


def _digits(parts: Iterable[Any]) -> int:
    """Return how many digits stand in a row in what these parts take; 0 where others may, too."""
    longest = 0
    for kind, what in parts:
        match str(kind):
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                here = _digits(what[2]) * int(what[1])
            case "SUBPATTERN":
                here = _digits(what[3])
            case "IN":
                here = int(all(_is_digit(str(one), value) for one, value in what))
            case "LITERAL":
                here = int(chr(what) in "0123456789.,+-")
            case _:
                here = 0
        if not here:
            return 0
        longest = max(longest, here)
    return longest


def _is_digit(kind: str, value: Any) -> bool:
    match kind:
        case "CATEGORY":
            return str(value) == "CATEGORY_DIGIT"
        case "RANGE":
            return bool(ord("0") <= value[0] and value[1] <= ord("9"))
        case "LITERAL":
            return chr(value) in "0123456789."
        case _:
            return False
