# SPDX-License-Identifier: Apache-2.0
"""What README shows is so."""

from __future__ import annotations

import re
import subprocess
from datetime import date

import pytest

from agent.cli.main import COMMANDS
from agent.config.agent_toml import parse
from agent.core.state.transitions import state_diagram
from tests.rig.paths import REPO

GUIDES = {name: (REPO / name).read_text() for name in ("README.md", "CONTRIBUTING.md")}
README = GUIDES["README.md"]


def test_the_state_diagram_is_that_of_the_table() -> None:
    how = (REPO / "docs/how-it-decides.md").read_text()
    assert f"```mermaid\n{state_diagram()}\n```" in how


def test_the_configuration_by_example_is_valid() -> None:
    first, several_hosts = re.findall(r"```toml\n(.*?)```", README, re.S)
    assert list(parse(first, "README.md").services) == ["vllm", "embed"]
    assert list(parse(several_hosts, "README.md").services) == ["vllm"]


def test_every_command_is_in_the_table() -> None:
    shown = re.findall(r"^\| `llmagent (\w+)", README, re.M)
    assert sorted(shown) == sorted(COMMANDS)


def places(text: str) -> set[str]:
    """Returns every path of the repository that a guide names."""
    named = re.findall(r"`((?:agent|tests|packaging|etc|units|docs)/[\w./-]+)`", text)
    return {*named, *re.findall(r"`(pyproject\.toml|Makefile)`", text)}


@pytest.mark.parametrize("guide", GUIDES)
def test_every_file_that_a_guide_names_is_there(guide: str) -> None:
    assert [place for place in places(GUIDES[guide]) if not (REPO / place).exists()] == []


@pytest.mark.parametrize("guide", GUIDES)
def test_every_name_that_a_guide_places_is_defined_there(guide: str) -> None:
    wrong = []
    for name, place in re.findall(r"`(\w+)` in\s+`([\w./-]+\.py)`", GUIDES[guide]):
        source = (REPO / place).read_text()
        if not re.search(rf"(?m)^(?:class|def) {name}\b|^{name}\b", source):
            wrong.append(f"{name} in {place}")
    assert wrong == []
    assert guide == "README.md" or "`HOLDS` in" in GUIDES[guide]


def test_every_command_of_make_that_a_guide_names_is_there() -> None:
    targets = set(re.findall(r"(?m)^([a-z-]+):", (REPO / "Makefile").read_text()))
    for text in GUIDES.values():
        assert set(re.findall(r"`make ([a-z-]+)`", text)) <= targets


def test_the_theory_of_decide_names_every_pass_in_its_order() -> None:
    theory, _, code = (REPO / "agent/core/decide.py").read_text().partition("from __future__")
    told = re.findall(r"(?m)^\d\. ``\w+\.(\w+)``", theory)
    assert told == re.findall(r"(?m)^    (?:\w+\.|_)(\w+)\(turn\)$", code)


OLDEST_DAYS = 31


def last_change_of_the_program() -> date:
    """Returns the day of it; skips where the tree is no clone."""
    last = ["git", "log", "-1", "--format=%cs", "--", "agent"]
    said = subprocess.run(
        last, check=False, capture_output=True, text=True, cwd=REPO
    ).stdout.strip()
    if not said:
        pytest.skip("the day of the last change of the program is known to git alone")
    return date.fromisoformat(said)


def test_the_figures_are_as_old_as_the_program_at_most_a_month() -> None:
    rows = re.findall(r"^\|.*\| (\d{4}-\d\d-\d\d), [^|]+\|$", README, re.M)
    measured = [date.fromisoformat(day) for day in rows]
    assert measured, "README says of which day its figures are"
    for day in measured:
        age = (last_change_of_the_program() - day).days
        assert age <= OLDEST_DAYS, "run make bench, and put its figures and their day into README"


def test_what_readme_shows_of_a_run_stands_in_the_recording_of_the_demo() -> None:
    (shown,) = re.findall(r"How it looks.*?```text\n(.*?)```", README, re.S)
    recording = (REPO / "docs/demo.md").read_text()
    lines = [line.strip().removesuffix("...") for line in shown.splitlines()]
    assert [line for line in lines if line not in recording] == []


def test_the_recording_is_as_old_as_the_program_at_most_a_month() -> None:
    (day,) = re.findall(r"Recorded on (\S+);", (REPO / "docs/demo.md").read_text())
    age = (last_change_of_the_program() - date.fromisoformat(day)).days
    assert age <= OLDEST_DAYS, "run make recording"
