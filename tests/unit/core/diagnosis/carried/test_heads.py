# SPDX-License-Identifier: Apache-2.0
"""A lone line behind a prefix that nobody knows is read from the exception on."""

from __future__ import annotations

import pytest

from agent.core.diagnosis.carried.services import ServicesReader
from agent.core.failures.classes import FailureClass as F
from tests.given.engine_logs import SIGNATURES

BEFORE = (
    "2026-11-20T03:05:01Z\tvllm-0\t",
    "<14>1 2026-11-20T03:05:01.1+00:00 gpu-a1 vllm 4711 - - ",
    "Nov 20, 2026 @ 03:05:01.123\tvllm-0\t",
    "[alloc 8a1f2c3d/vllm.stderr.0] ",
    "(task, pid=14418) ",
    "  17  ",
    "> ",
)
SAID = "AttributeError: 'NoneType' object has no attribute 'odd_size'"


def found_in(*lines: str) -> F | None:
    reader = ServicesReader(SIGNATURES)
    for line in lines:
        reader.feed(line)
    return reader.diagnosis().failure


@pytest.mark.parametrize("prefix", BEFORE)
def test_a_prefix_that_nobody_knows_hides_no_lone_exception(prefix: str) -> None:
    assert found_in(prefix + SAID) is found_in(SAID) is not None


def test_a_program_that_is_no_engine_has_nothing_read_into_it() -> None:
    assert found_in("GET /odd 200", "all is well") is None


def test_lines_of_an_engine_are_read_as_they_stand() -> None:
    """Only of a log of which nothing was understood are lines read from within."""
    assert found_in("INFO 11-20 03:05:01 [core.py:1] ready", f"odd> {SAID}") is None


def test_an_exception_that_was_written_above_its_frames_is_placed_by_them() -> None:
    written = ServicesReader(SIGNATURES)
    for line in (
        "RuntimeError: an odd thing",
        "",
        '  File "/opt/odd/dist-packages/vllm/v1/attention/odd.py", line 7, in forward',
        "    odd(query)",
    ):
        written.feed(line)
    assert written.diagnosis().failure is F.KERNEL_LIBRARY


def test_the_frames_of_the_next_exception_are_not_those_of_the_one_before() -> None:
    frame = '  File "/opt/odd/dist-packages/vllm/v1/attention/odd.py", line 7, in forward'
    two = found_in("RuntimeError: an odd thing", frame, "KeyError: 'odd'")
    assert two is found_in(frame, "KeyError: 'odd'")
