# SPDX-License-Identifier: Apache-2.0
"""Each border is fuzzed for a moment, after all that once broke it; `make fuzz` goes on longer."""

from __future__ import annotations

import gc
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.borders import borders
from tests.fuzz.driver import Border, fuzz, kept, tell
from tests.fuzz.log import log
from tests.fuzz.nvml import nvml

SECONDS = 1.3
SEED = 20261128
NAMES = (
    *("metrics", "http", "config.json", "checkpoint", "agent.toml"),
    *("web-config", "page", "state", "log", "control", "cluster", "import"),
)


@pytest.fixture(scope="module")
def every() -> Iterator[dict[str, Border]]:
    with borders() as found:
        yield found


def holds(border: Border) -> None:
    for content in (*border.seeds, *kept(border)):
        broken = tell(border, content)
        assert broken is None, broken.what
    tried, found = fuzz(border, SEED, SECONDS)
    assert found is None, f"{found.what}\n{found.content[:500]!r}"
    assert tried > 1


@pytest.mark.parametrize("name", NAMES)
def test_no_input_breaks_a_border(every: dict[str, Border], name: str) -> None:
    assert set(every) == set(NAMES)
    holds(every[name])


def test_lines_without_end_leave_no_memory_taken() -> None:
    border = log()
    assert fuzz(border, SEED, 2.0)[1] is None
    before = resident_kib()
    assert fuzz(border, SEED + 1, 3.0)[1] is None
    assert resident_kib() - before < 20 << 10


def resident_kib() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * (resource.getpagesize() >> 10)


def test_no_answer_of_nvml_ends_the_one_who_reads_it(tmp_path: Path) -> None:
    with nvml(tmp_path) as border:
        found = fuzz(border, SEED, SECONDS)[1]
        assert found is None, found.what


def test_the_driver_finds_what_breaks() -> None:
    def take(content: bytes) -> None:
        int(content.decode("latin-1") if b"9" * 19 in content else "1")

    border = Border("sample", take, (b"{}", b"[1]"))
    found = fuzz(border, SEED, 5.0)[1]
    assert found is not None
    assert "ValueError" in found.what
    assert tell(border, found.content) is not None
