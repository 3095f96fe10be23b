# SPDX-License-Identifier: Apache-2.0
"""The demo's page is made from a run, and its words around it stay."""

from __future__ import annotations

import pytest

from tests.rig.recording.page import PAGE, WIDTH, recorded


def test_a_run_takes_the_place_of_the_last_one_with_its_day() -> None:
    page = recorded(PAGE.read_text(), ["", "== The package", "x" * 200, ""], "2031-02-03")
    assert "Recorded on 2031-02-03" in page
    assert page.startswith("# What `make demo` shows")
    recording = page.partition("```text\n")[2].splitlines()
    assert recording[0] == "== The package"
    assert recording[1] == "x" * (WIDTH - 3) + "..."
    assert recording[2] == "```"
    assert recorded(page, ["a ``b`` \\1"], "2031-02-04").count("a ``b`` \\1") == 1


def test_a_page_without_a_place_for_it_is_not_written() -> None:
    with pytest.raises(ValueError, match="a recording 0 times"):
        recorded("Recorded on 2031-02-03", ["x"], "2031-02-04")
