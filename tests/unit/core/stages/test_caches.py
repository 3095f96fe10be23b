# SPDX-License-Identifier: Apache-2.0
"""Compiled code that no start will use again goes, within a budget; what is in use stays."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent.core.measures import GIB, HOUR_SECONDS
from agent.core.stages.caches import ATIME_SECONDS, BUDGET_BYTES, Compiled, not_used_again
from agent.host.machine.compiled import compiled

DAY = 24 * HOUR_SECONDS
START = 100 * DAY


def old(name: str, gib: float, days: float) -> Compiled:
    return Compiled(f"/c/{name}", int(gib * GIB), START - days * DAY)


def gone(*found: Compiled) -> list[str]:
    return [one.path for one in not_used_again(found, START)]


def test_what_fits_into_the_budget_stays() -> None:
    assert gone(old("a", 4, 10), old("b", 5, 20)) == []


def test_beyond_the_budget_the_longest_unused_goes() -> None:
    assert gone(old("a", 4, 30), old("b", 5, 20), old("c", 4, 10)) == ["/c/a"]


def test_what_the_last_start_used_stays_however_large_it_is() -> None:
    in_use = Compiled("/c/now", 500 * GIB, START)
    day_before = Compiled("/c/relatime", 500 * GIB, START - 24 * HOUR_SECONDS)
    assert gone(in_use, day_before, old("a", 1, 10)) == []


@given(
    st.lists(
        st.builds(
            Compiled, st.uuids().map(str), st.integers(0, 30 * GIB), st.floats(0, START + DAY)
        ),
        unique_by=lambda one: one.path,
    )
)
def test_nothing_in_use_goes_and_what_stays_unused_is_within_the_budget(
    found: list[Compiled],
) -> None:
    chosen = {one.path for one in not_used_again(found, START)}
    unused = [one for one in found if one.used_at < START - ATIME_SECONDS]
    assert chosen <= {one.path for one in unused}
    assert sum(one.size_bytes for one in unused if one.path not in chosen) <= BUDGET_BYTES


def test_a_directory_was_used_when_any_of_its_files_was(tmp_path: Path) -> None:
    root = tmp_path / "vllm"
    for name in ("0a1b2c3d4e", "torch_aot_compile/ffeeddcc00", "not-a-hash"):
        (root / "torch_compile_cache" / name / "rank_0_0").mkdir(parents=True)
        for number, at in enumerate((1000, 5000, 3000)):
            file = root / "torch_compile_cache" / name / f"rank_0_0/f{number}"
            file.write_bytes(b"x" * 5000)
            os.utime(file, (at, 500))
    (root / "torch_compile_cache/deadbeef00").symlink_to(tmp_path)
    found = {Path(one.path).name: one for one in compiled(root)}
    assert found.keys() == {"0a1b2c3d4e", "ffeeddcc00"}
    assert {one.used_at for one in found.values()} == {5000.0}
    assert all(one.size_bytes >= 15000 for one in found.values())
    assert list(compiled(tmp_path / "nothing")) == []
