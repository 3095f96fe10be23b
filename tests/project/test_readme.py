# SPDX-License-Identifier: Apache-2.0
"""What README shows is so."""

from __future__ import annotations

import re
from pathlib import Path

from agent.cli.main import COMMANDS
from agent.config.agent_toml import parse
from agent.core.state.transitions import state_diagram

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_state_diagram_is_that_of_the_table() -> None:
    assert f"```mermaid\n{state_diagram()}\n```" in README


def test_the_configuration_by_example_is_valid() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", README, re.S)
    assert list(parse(example, "README.md").services) == ["vllm", "embed"]


def test_every_command_is_in_the_table() -> None:
    shown = re.findall(r"^\| `llmagent (\w+)", README, re.M)
    assert sorted(shown) == sorted(COMMANDS)
