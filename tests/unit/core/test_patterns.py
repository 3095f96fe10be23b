# SPDX-License-Identifier: Apache-2.0
"""In a pattern of a data file nothing repeats without a bound; the rest stays as written."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.patterns import NAME, NUMBER, bounded, compile_pattern
from tests.given.hostile.pattern_cost import steps_of
from tests.given.hostile.pattern_parts import TooManyWaysError


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"\d+ left", r"\d{1,18} left"),
        (r"[\d.,]+x", r"[\d.,]{1,24}x"),
        (r"a.*b", r"a.{0,400}b"),
        (r"a.*?b", r"a.{0,400}?b"),
        (r"\w++ b", r"\w{1,100}+ b"),
        (r"\S{3,}", r"\S{3,300}"),
        (r"[^)]*\)", r"[^)]{0,300}\)"),
        (r"(?:ab)+", r"(?:ab){1,20}"),
        (r"(?P<pid>\d+)", r"(?P<pid>\d{1,18})"),
        (r"(?!.*x)(?<!y)z", r"(?!.{0,400}x)(?<!y)z"),
        (r"\+ \* [*+] \.+", r"\+ \* [*+] \.{1,100}"),
        (r"a{2,5}b?c{7}", r"a{2,5}b?c{7}"),
        (r".{0,2000}", r".{0,2000}"),
    ],
)
def test_an_open_repeat_gets_the_bound_of_what_it_repeats(written: str, meant: str) -> None:
    assert bounded(written) == meant
    re.compile(meant)


@given(st.text("ab.*+?\\d()|^${},0", max_size=12))
def test_whatever_is_a_pattern_stays_one(text: str) -> None:
    try:
        re.compile(text)
    except re.error:
        with pytest.raises(re.error):
            compile_pattern(text)
        return
    re.compile(bounded(text))


@given(st.from_regex(r"\A(?:ab|\d{1,18}|[xy]{1,30}|\.)+\Z"))
def test_a_line_of_usual_size_is_found_as_before(line: str) -> None:
    for text in (r"^(?:ab|\d+|[xy]*|\.)+$", r"\d+", r"a.*b", r"[^a]+a"):
        if len(line) < NUMBER:
            assert bool(re.search(text, line)) == bool(compile_pattern(text).search(line))


def test_a_number_of_any_length_ends() -> None:
    found = compile_pattern(r"pid=(\d+)").search("pid=" + "9" * 5000)
    assert found is not None
    assert len(found.group(1)) == NUMBER
    assert compile_pattern(r"^\S+$").search("x" * (NAME + 1)) is None


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?:\w+ ?)+done",
        r"error: argument \S+.*?: (?:expected|.* cannot be converted|.*must be)",
        r"\w+ quantization",
        r".*a.*b.*c",
        r"(\d+)+x",
    ],
)
def test_what_divides_a_line_in_many_ways_is_counted_as_slow(pattern: str) -> None:
    try:
        steps = steps_of(re.compile(pattern))
    except TooManyWaysError:
        return
    assert steps > 1e8


@pytest.mark.parametrize("pattern", [r"plain words", r"^\d+ of \d+$", r"^(?:a|b): .*c", r"a[^x]*x"])
def test_what_can_be_read_in_one_way_is_counted_as_quick(pattern: str) -> None:
    assert steps_of(compile_pattern(pattern)) < 1e7
