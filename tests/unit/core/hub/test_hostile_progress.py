# SPDX-License-Identifier: Apache-2.0
"""The fetch's words carry sizes that the hub gave: what no disk has is not taken for a number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.hub.progress import MOST_BYTES, WORD, FetchPlan, FetchProgress, read_line


@pytest.mark.parametrize(
    "size", ["9" * 330, "9" * 5000, "-1", "1e308", "inf", "nan", "", "1_0", "٣"]
)
@pytest.mark.parametrize("name", ["done", "total", "speed"])
def test_a_size_that_no_disk_has_is_no_progress(name: str, size: str) -> None:
    pairs = {"done": "1", "total": "2", "speed": "3"} | {name: size}
    line = f"{WORD} progress " + " ".join(f"{key}={value}" for key, value in pairs.items())
    assert read_line(line) is None


def test_the_largest_size_is_shown_without_an_error() -> None:
    seen = read_line(f"{WORD} progress done=0 total={MOST_BYTES} speed={MOST_BYTES}")
    assert isinstance(seen, FetchProgress)
    assert len(str(seen)) < 200
    assert seen.share == 0


@given(word=st.sampled_from(["plan", "progress"]), rest=st.text(max_size=80))
def test_whatever_a_line_says_its_numbers_are_bounded(word: str, rest: str) -> None:
    match read_line(f"{WORD} {word} done=1 total=2 speed=3 {rest}"):
        case FetchProgress() as seen:
            assert 0 <= seen.done <= MOST_BYTES
            assert 0 <= seen.total <= MOST_BYTES
            assert str(seen)
        case FetchPlan() as plan:
            assert 0 <= plan.total <= MOST_BYTES
        case None:
            pass
