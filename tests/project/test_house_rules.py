# SPDX-License-Identifier: Apache-2.0
"""What the project's tools judge: style, types, layers, and the rules that no tool knows."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.rig import paths

REPO: Final = paths.REPO
AGENT: Final = REPO / "agent"
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


MOST_MODULES: Final = 15
WIDER: Final = {
    "agent/core/planner": "one term of the arithmetic a module",
    "tests/container": "a machine is booted once a module, so that a module is one concern",
    "tests/nights": "one simulated part of a host a module",
}
"""Folders that may hold more modules, each with its reason."""

FACES: Final = {"agent/host/systemd": "the adapter is one thing to import"}
"""Packages whose __init__ hands on names, each with its reason."""


def test_no_folder_has_more_than_15_modules() -> None:
    counts: dict[str, int] = {}
    for path in python_files():
        folder = str(path.parent.relative_to(REPO))
        counts[folder] = counts.get(folder, 0) + (path.name != "__init__.py")
    wide = {folder for folder, n in counts.items() if n > MOST_MODULES}
    assert wide - WIDER.keys() == set()
    assert WIDER.keys() - wide == set(), "an exception that is none any more"


def packages() -> list[Path]:
    """Returns the __init__.py of every package of the program."""
    return [path for path in python_files() if path.name == "__init__.py" and AGENT in path.parents]


def test_every_package_says_in_its_first_line_what_it_is_for() -> None:
    for path in packages():
        docstring = ast.get_docstring(ast.parse(path.read_text()))
        assert docstring, path
        first = docstring.split("\n")[0]
        assert first.endswith((".", ":")), (path, first)


def test_a_package_holds_nothing_but_what_it_says() -> None:
    for path in packages():
        body = ast.parse(path.read_text()).body
        if str(path.parent.relative_to(REPO)) not in FACES:
            assert len(body) == 1, f"{path}: put it into a module of its own"


def names_of(tree: ast.Module) -> tuple[set[str], set[str]]:
    """Returns the names that a module defines and those that it imports."""
    defined: set[str] = set()
    imported: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom() | ast.Import():
                imported |= {alias.asname or alias.name for alias in node.names}
            case ast.FunctionDef() | ast.ClassDef():
                defined.add(node.name)
            case ast.Name(ctx=ast.Store()):
                defined.add(node.id)
    return defined, imported


def test_a_name_has_one_import_path() -> None:
    modules = {
        str(path.relative_to(REPO).with_suffix(""))
        .replace("/", ".")
        .removesuffix(".__init__"): path
        for path in python_files()
        if AGENT in path.parents
    }
    known = {name: names_of(ast.parse(path.read_text())) for name, path in modules.items()}
    faces = {face.replace("/", ".") for face in FACES}
    wrong = []
    for path in python_files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module in known.keys() - faces:
                defined, imported = known[node.module]
                wrong += [
                    f"{path.relative_to(REPO)}:{node.lineno}: {alias.name} of {node.module}"
                    for alias in node.names
                    if alias.name in imported - defined
                    and f"{node.module}.{alias.name}" not in modules
                ]
    assert wrong == []


def test_what_a_program_in_a_string_imports_is_there() -> None:
    """A program that another process runs is text: no tool sees that a module of it has moved."""
    for path in python_files():
        for name in re.findall(r"(?m)^\s*from (agent(?:\.[a-z_]+)+) import", path.read_text()):
            assert importlib.util.find_spec(name), f"{path.relative_to(REPO)}: {name}"
