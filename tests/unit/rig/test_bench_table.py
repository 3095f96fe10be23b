# SPDX-License-Identifier: Apache-2.0
"""README's table is written from what was measured; what was not measured stays as it is."""

from __future__ import annotations

from pathlib import Path
from string import Formatter

import pytest

from tests.benchmarks.table.figures import Run, keep, kept
from tests.benchmarks.table.page import BEGIN, END, ROWS, written

PAGE = f"# Title\n\n{BEGIN}\n{END}\n\nmore\n"


def names_of(part: str) -> list[str]:
    texts = [text for row in ROWS if row.part == part for text in (row.ours, row.peers)]
    return [name for text in texts for _, name, _, _ in Formatter().parse(text) if name]


def run_of(part: str, value: float = 7.0, day: str = "2031-02-03") -> Run:
    return Run(day, "2 cores, 24 GiB, Debian 12", dict.fromkeys(names_of(part), value))


def test_figures_are_kept_with_their_day_and_machine_until_the_next_run(tmp_path: Path) -> None:
    keep("nights", {"nights": 1}, tmp_path)
    keep("nights", {"nights": 2}, tmp_path)
    found = kept(tmp_path)["nights"]
    assert found.values == {"nights": 2}
    assert len(found.day) == len("2031-02-03")
    assert " cores, " in found.machine


def test_what_was_measured_is_written_and_the_rest_stays() -> None:
    first = written(PAGE, {part: run_of(part) for part in ("costs", "reaction")})
    assert "| NVML calls a second | 7 | 7 nvitop-exporter | 2031-02-03, 2 cores, 24 GiB" in first
    assert "simulated nights" not in first
    assert first.startswith("# Title\n")
    assert first.endswith(f"{END}\n\nmore\n")

    later = written(first, {"reaction": run_of("reaction", 9.0, "2031-02-04")})
    assert "| 9 / 9 ms | 9 / 9 ms `Restart=always`, `RestartSec=100ms` | 2031-02-04" in later
    assert "| NVML calls a second | 7 |" in later
    assert written(later, {"reaction": run_of("reaction", 9.0, "2031-02-04")}) == later


def test_every_row_can_be_told() -> None:
    page = written(PAGE, {row.part: run_of(row.part, 1234.5) for row in ROWS})
    lines = [line for line in page.splitlines() if line.startswith("|")]
    assert len(lines) == len(ROWS) + 2
    assert {line.count(" | ") for line in lines if "---" not in line} == {3}


def test_a_page_without_the_marks_is_not_written() -> None:
    for page in ("# Title\n", f"{END}\n{BEGIN}\n", f"{BEGIN}\n"):
        with pytest.raises(ValueError, match="put these two lines"):
            written(page, {})
