# SPDX-License-Identifier: Apache-2.0
"""The table of phases is complete, and README shows it."""

from __future__ import annotations

from pathlib import Path

from agent.core.transitions import TRANSITIONS, state_diagram
from agent.core.vocabulary import Phase

README = Path(__file__).parents[2] / "README.md"


def test_readme_shows_the_state_diagram_of_the_table() -> None:
    assert f"```mermaid\n{state_diagram()}\n```" in README.read_text()


def test_every_phase_can_be_reached_and_left() -> None:
    assert {new for _, new in TRANSITIONS} == set(Phase)
    assert {old for old, _ in TRANSITIONS} == set(Phase)


def test_serving_is_only_reached_through_verification() -> None:
    assert [old for old, new in TRANSITIONS if new is Phase.SERVING] == [Phase.VERIFYING]
