# SPDX-License-Identifier: Apache-2.0
"""One worker alone starts real vLLM, and what takes longest is begun first."""

from __future__ import annotations

from tests.rig.paths import REPO
from tests.turns import LONGEST, SHARED, group_of, turn_of


def test_a_file_is_a_group_and_all_of_real_vllm_is_one() -> None:
    assert (
        group_of("tests/container/test_gpus.py::test_a[rtx4090]") == "tests/container/test_gpus.py"
    )
    starts = ("test_shapes.py::test_two", "test_newest_release.py::test_what[x]")
    assert {group_of(f"tests/vllm/{one}") for one in starts} == {"tests/vllm"}


def test_the_stories_of_one_debian_are_told_on_one_machine() -> None:
    story = "tests/container/stories/test_json.py::test_every"
    assert group_of(f"{story}[bookworm]") == "tests/container/stories bookworm"
    assert group_of(f"{story}[trixie-x]") == "tests/container/stories trixie"


def test_the_longest_come_first_and_each_group_stays_together() -> None:
    ahead = ["tests/container/test_ahead.py::test_b", "tests/container/test_ahead.py::test_a"]
    json, habits = (
        f"tests/container/stories/test_{name}.py::test_x" for name in ("json", "habits")
    )
    vllm = "tests/vllm/test_fetch.py::test_x"
    mixed = [*ahead, f"{json}[bookworm]", vllm, f"{habits}[trixie]", f"{habits}[bookworm]"]
    assert sorted(mixed, key=turn_of) == [
        vllm,
        *(f"{json}[bookworm]", f"{habits}[bookworm]", f"{habits}[trixie]"),
        *ahead,
    ]


def test_every_place_that_is_named_is_there() -> None:
    assert [place for place in (*LONGEST, *SHARED) if not (REPO / place).exists()] == []
