# SPDX-License-Identifier: Apache-2.0
"""One process of somebody's, as /proc shows it: its words, its environment, its user."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from agent.core.record import dataclass
from agent.host.machine.unit_of_process import unit_of_groups

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """`environment` is not shown by repr: it may hold secrets. `unit` is "" for none."""

    pid: int
    words: tuple[str, ...]
    user: str
    parent: int
    unit: str
    directory: str
    environment: Mapping[str, str] = field(repr=False)


def process(pid: int) -> Process | None:
    """Return what runs as `pid`, None where nothing does.

    Raises PermissionError where only root may look.
    """
    place = PROC / str(pid)
    try:
        words = _parts(place / "cmdline")
        pairs = (part.partition("=") for part in _parts(place / "environ"))
        facts = (place / "stat").read_text(errors="replace").rpartition(")")[2].split()
        owner = place.stat().st_uid
        groups = (place / "cgroup").read_text(errors="replace")
        directory = os.readlink(place / "cwd")  # noqa: PTH115 - it is a word of the kernel's
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Process(
        pid=pid,
        words=words,
        user=_name(owner),
        parent=int(facts[1]),
        unit=unit_of_groups(groups),
        directory=directory,
        environment={name: value for name, equals, value in pairs if equals},
    )


def _parts(file: Path) -> tuple[str, ...]:
    return tuple(file.read_bytes().decode(errors="replace").rstrip("\0").split("\0"))


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return ""


def home_of(user: str) -> str:
    """Return the home of a user, root's where there is no such user."""
    try:
        return pwd.getpwnam(user or "root").pw_dir
    except (KeyError, ValueError):  # the latter for a name with a NUL in it
        return "/root"
