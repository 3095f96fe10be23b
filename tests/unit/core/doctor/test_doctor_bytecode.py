# SPDX-License-Identifier: Apache-2.0
"""Bytecode that is lost is paid at every start: the doctor counts it and prints the cure."""

from __future__ import annotations

import compileall
import os
import py_compile
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.core.doctor.bytecode import judge_bytecode
from agent.core.doctor.finding import Finding, Result
from agent.host.probes.bytecode import bytecode

VERSION = (sys.version_info.major, sys.version_info.minor)
MODULES = 24


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Returns a directory of packages, two of them, as pip leaves it: compiled."""
    site = tmp_path / "lib/python3.11/site-packages"
    for package in ("engine", "helper/inner"):
        (site / package).mkdir(parents=True)
        for number in range(MODULES // 2):
            (site / package / f"m{number}.py").write_text(f"x = {number}\n")
    (site / "alone.py").write_text("x = 1\n")
    assert compileall.compile_dir(site, quiet=1)
    return site


def finding(site: Path, environment: dict[str, str] | None = None, seconds: float = 30) -> Finding:
    found = bytecode((str(site.parent), str(site)), VERSION, environment or {}, seconds)
    return judge_bytecode("vllm", sys.executable, found)


def test_modules_as_pip_leaves_them_are_well(site: Path) -> None:
    assert finding(site) == Finding("bytecode", Result.OK, "24 modules have theirs", "", "vllm")


def all_gone(site: Path) -> None:
    shutil.rmtree(site / "engine/__pycache__")


def newer_sources(site: Path) -> None:
    for source in (site / "engine").glob("*.py"):
        os.utime(source, (1, 1))


def longer_sources(site: Path) -> None:
    for source in (site / "engine").glob("*.py"):
        at = source.stat().st_mtime_ns
        source.write_text(source.read_text() + "y = 2\n")
        os.utime(source, ns=(at, at))


def another_interpreters(site: Path) -> None:
    for kept in (site / "engine/__pycache__").iterdir():
        kept.rename(kept.with_name(kept.name.replace("cpython-", "cpython-9")))


def cut_short(site: Path) -> None:
    for kept in (site / "engine/__pycache__").iterdir():
        kept.write_bytes(kept.read_bytes()[:7])


def optimized_alone(site: Path) -> None:
    shutil.rmtree(site / "engine/__pycache__")
    compileall.compile_dir(site / "engine", quiet=1, optimize=1)


@pytest.mark.parametrize(
    "lose",
    [all_gone, newer_sources, longer_sources, another_interpreters, cut_short, optimized_alone],
)
def test_bytecode_that_python_does_not_take_is_found_and_the_printed_command_cures_it(
    site: Path, lose: Callable[[Path], None]
) -> None:
    lose(site)
    found = finding(site)
    assert found.result is Result.WARNING
    assert "12 of 24 modules have none that is valid, most of engine (12)" in found.evidence
    assert "19 to 23 s of every start" in found.evidence
    command = shlex.split(found.fix)
    assert command[-1] == str(site / "engine")
    subprocess.run(command[command.index(sys.executable) :], check=True, timeout=60)
    assert finding(site).result is Result.OK


def test_bytecode_with_a_hash_in_place_of_a_time_is_taken(site: Path) -> None:
    for source in (site / "engine").glob("*.py"):
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(source), invalidation_mode=mode)
        os.utime(source, (1, 1))
    assert finding(site).result is Result.OK


def test_a_module_or_two_without_it_are_no_disease(site: Path) -> None:
    next((site / "engine/__pycache__").iterdir()).unlink()
    assert finding(site).result is Result.OK


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"PYTHONOPTIMIZE": "1"}, True),
        ({"PYTHONOPTIMIZE": "2"}, True),
        ({"PYTHONOPTIMIZE": "0"}, False),
        ({"PYTHONOPTIMIZE": ""}, False),
        ({"PYTHONDONTWRITEBYTECODE": "1"}, True),
        ({"PYTHONPYCACHEPREFIX": "/var/cache/x"}, True),
        ({"PYTHONUNBUFFERED": "1"}, False),
    ],
)
def test_a_variable_that_leaves_it_aside_is_named(
    site: Path, environment: dict[str, str], named: bool
) -> None:
    found = finding(site, environment)
    assert (found.result is Result.WARNING) is named
    if named:
        (name,) = environment
        assert f"{name} is set" in found.evidence
        assert f"Take {name} out" in found.fix


def test_what_cannot_be_counted_in_time_is_said_so(site: Path) -> None:
    assert finding(site, seconds=0).result is Result.UNKNOWN
    nothing = bytecode((str(site.parent / "nothing-packages"),), VERSION, {})
    assert judge_bytecode("vllm", sys.executable, nothing).result is Result.UNKNOWN
