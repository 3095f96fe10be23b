# SPDX-License-Identifier: Apache-2.0
"""Makes a virtual environment with vLLM: python3 -m venv, pip with its own progress, bytecode."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from agent.errors import HostLacksError, UsageError
from agent.host.vllm.install import inspect

PYTHON = "/usr/bin/python3"
NEEDED_GIB = 15.0
"""What vLLM, torch and CUDA's libraries take on disk (vLLM 0.33 with torch 2.11: 11 GiB)."""


def commands(directory: Path, requirement: str) -> tuple[tuple[str, ...], ...]:
    """Return what is run, in its order, as a person would type it."""
    python = str(directory / "bin/python")
    return (
        (PYTHON, "-m", "venv", str(directory)),
        (python, "-m", "pip", "install", requirement),
        # pip compiles what it installs, but for what fails; then each start would try again.
        (python, "-m", "compileall", "-q", "-j", "0", str(directory / "lib")),
    )


def make_environment(directory: Path, requirement: str) -> str:
    """Make it and return its Python; raises HostLacksError, and then nothing is left of it.

    pip writes to stderr what it does, with a bar for each download on a terminal.
    """
    if directory.exists() and any(directory.iterdir()):
        raise UsageError(f"{directory} is there and not empty: give --make-venv another directory")
    free = shutil.disk_usage(_existing(directory)).free / 2**30
    if free < NEEDED_GIB:
        raise HostLacksError(
            f"{directory}: {free:.1f} GiB are free, vLLM takes up to {NEEDED_GIB:g}; choose "
            "another place: --make-venv DIR"
        )
    try:
        for command in commands(directory, requirement):
            _run(command)
    except (HostLacksError, KeyboardInterrupt):
        shutil.rmtree(directory, ignore_errors=True)
        raise
    python = str(directory / "bin/python")
    if problems := inspect(python).problems:
        raise HostLacksError("\n".join(problems))
    return python


def _run(command: tuple[str, ...]) -> None:
    print(f"$ {' '.join(command)}", file=sys.stderr, flush=True)
    try:
        done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    except OSError as error:
        raise HostLacksError(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode != 0 and "compileall" not in command:
        raise HostLacksError("; ".join(_why(command)))


def _why(command: tuple[str, ...]) -> Iterator[str]:
    yield f"`{' '.join(command)}` failed, as it says above"
    if "venv" in command:
        yield "apt install python3-venv"


def _existing(place: Path) -> Path:
    while not place.exists():
        place = place.parent
    return place
