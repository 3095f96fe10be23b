# SPDX-License-Identifier: Apache-2.0
"""Whole numbers in what strangers wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.numerals import MOST, whole_number


@pytest.mark.parametrize("text", ["", "²", "٣", "-1", "+1", " 1", "1_0", "9" * 5000, "1\0", "1e3"])
def test_what_int_refuses_or_reads_otherwise_is_no_number(text: str) -> None:
    assert whole_number(text) is None


@given(st.integers(0, 2 * MOST))
def test_a_number_is_read_up_to_its_bound(number: int) -> None:
    assert whole_number(str(number)) == (number if number <= MOST else None)
    assert whole_number(f"00{number}", number) == number


@given(st.text(max_size=60))
def test_no_text_raises(text: str) -> None:
    number = whole_number(text)
    assert number is None or 0 <= number <= MOST
