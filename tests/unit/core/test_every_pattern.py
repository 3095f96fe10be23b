# SPDX-License-Identifier: Apache-2.0
"""No regular expression of the agent takes more than an instant on any text that it may meet.

Every one is found in the source, so that a new one is judged the day it is written; the texts are
made of the pattern itself. Those of our data files (signatures, places, writers, Xids) are judged
the same way in tests/unit/core/diagnosis.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import pytest

from tests.given.hostile.pattern_cost import LINE, STEPS_OF_20_MS, steps_of
from tests.given.hostile.pattern_parts import TooManyWaysError
from tests.given.hostile.pattern_pumps import pumps
from tests.given.hostile.patterns_of_agent import Found, patterns
from tests.given.yardstick import yardsticks

MOST = 10
"""Yardsticks, of about 20 ms on an idle machine; a quadratic pattern takes 25 and more."""

SHORTER = {
    "agent.core.diagnosis.carried.carriers._ORIGIN": 400,
    "agent.core.diagnosis.carried.carriers._OF_SYSLOG": 400,
    "agent.core.diagnosis.carried.carriers._OF_THE_HOST": 400,
    "agent.core.diagnosis.lines._HEADER": 400,
    "agent.core.diagnosis.lines._PROCESS": 400,
}
"""Characters of the text that is looked at, where its beginning alone is."""

EVERY = {f"{found.where} {n}": found for n, found in enumerate(patterns())}


@pytest.mark.parametrize("name", EVERY)
def test_a_pattern_of_the_agent_takes_but_an_instant(name: str) -> None:
    found = EVERY[name]
    if is_quick_by_its_form(found):
        return
    for text in pumps(found.pattern, SHORTER.get(found.where, LINE)):
        for method in found.methods:
            taken = yardsticks(partial(used, found.pattern, method, text), MOST)
            assert taken <= MOST, f"{method} takes {taken:.0f} yardsticks on {shown(text)}"


def is_quick_by_its_form(found: Found) -> bool:
    """Tell whether no text at all can take it long; most patterns are so simple."""
    text, flags = found.pattern.pattern, found.pattern.flags
    as_text = (
        re.compile(text.decode("latin-1"), flags) if isinstance(text, bytes) else found.pattern
    )
    anchored = found.methods <= {"match", "fullmatch"}
    try:
        return steps_of(as_text, anchored=anchored) <= MOST * STEPS_OF_20_MS
    except TooManyWaysError:
        return False


def used(pattern: re.Pattern[Any], method: str, text: str) -> None:
    given = text.encode("latin-1", "replace") if isinstance(pattern.pattern, bytes) else text
    if method in ("match", "fullmatch", "search"):
        getattr(pattern, method)(given)
    else:
        for _ in pattern.finditer(given):
            pass


def shown(text: str) -> str:
    return f"{text[:30]!r}... of {len(text)} characters"


def test_every_pattern_of_the_source_is_judged() -> None:
    names = {found.where for found in EVERY.values()}
    assert len(names) > 200
    assert SHORTER.keys() <= names


@pytest.mark.parametrize(
    ("pattern", "method"),
    [
        (r"^(?:\w+\.){1,8}[A-Za-z]*[A-Z]\w*:", "match"),
        (r"\s+$", "search"),
        (r"\w+=", "search"),
    ],
)
def test_what_is_slow_is_found(pattern: str, method: str) -> None:
    slow = Found("sample", re.compile(pattern), frozenset({method}))
    assert any(
        yardsticks(partial(used, slow.pattern, method, text), 2) > 2
        for text in pumps(slow.pattern, LINE // 4)
    )
