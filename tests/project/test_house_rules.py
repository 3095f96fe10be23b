# SPDX-License-Identifier: Apache-2.0
"""What the project's tools judge: style, types, layers, and the rules that no tool knows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.rig import paths

REPO: Final = paths.REPO
TOOLS: Final = Path(sys.executable).parent
LONGEST: Final = 300


def python_files() -> list[Path]:
    """Returns every Python file of the project that git knows or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        check=True,
        capture_output=True,
        text=True,
        cwd=REPO,
    )
    return [path for name in listed.stdout.splitlines() if (path := REPO / name).exists()]


@pytest.mark.parametrize(
    ("tool", "where"),
    [
        pytest.param(["ruff", "check"], ".", id="ruff check"),
        pytest.param(["ruff", "format", "--check"], ".", id="ruff format"),
        pytest.param(
            ["mypy", "--strict", "--exclude", "^tests/rig/scripted_engine/", "agent", "tests"],
            ".",
            id="mypy",
        ),
        pytest.param(
            ["mypy", "--strict", "-p", "engine"],
            "tests/rig/scripted_engine",
            id="mypy of the scripted engine",
        ),
        pytest.param(["lint-imports"], ".", id="layers"),
    ],
)
def test_the_tools_find_nothing(tool: list[str], where: str) -> None:
    done = subprocess.run(
        [TOOLS / tool[0], *tool[1:]],
        check=False,
        capture_output=True,
        text=True,
        cwd=REPO / where,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_python_file_names_the_licence_first() -> None:
    nameless = [
        str(path.relative_to(REPO))
        for path in python_files()
        if (text := path.read_text())
        and not text.startswith("# SPDX-License-Identifier: Apache-2.0\n")
    ]
    assert nameless == []


def test_no_module_is_longer_than_300_lines() -> None:
    lengths = {str(p.relative_to(REPO)): len(p.read_text().splitlines()) for p in python_files()}
    modules = {name: n for name, n in lengths.items() if not Path(name).name.startswith("test_")}
    assert {name: n for name, n in modules.items() if n > LONGEST} == {}
