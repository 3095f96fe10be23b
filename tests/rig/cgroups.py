# SPDX-License-Identifier: Apache-2.0
"""A control group for each container.

systemd-nspawn --keep-unit puts its container below the caller's group, so two containers of one
caller would share /payload, and each systemd would take the other's services for its own.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

WANTED: Final = ("name=systemd", "memory")
LIMITING: Final = ("memory", "pids")
"""Version 1's controllers by which the host limits what a container's systemd cannot."""


def _hierarchies(wanted: tuple[str, ...] = WANTED) -> dict[str, Path]:
    """Returns our own group's directory by hierarchy, of those that are wanted.

    "name=systemd" and "" (version 2) are where systemd keeps its units, "memory" is version 1's
    memory controller.
    """
    mounts: dict[str, str] = {}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, target, kind, options, *_ = line.split()
        if kind == "cgroup2":
            mounts[""] = target
        elif kind == "cgroup":
            mounts |= {name: target for name in wanted if name in options.split(",")}
    found = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers in mounts:
            found[controllers] = Path(mounts[controllers]) / group.lstrip("/")
    return found


class Cgroup:
    """A group below our own, by one name in each hierarchy; memory_limit in bytes, 0 for none."""

    def __init__(self, name: str, memory_limit: int = 0) -> None:
        self._limit = memory_limit
        self._directories = {key: top / name for key, top in _hierarchies().items()}

    def make(self) -> None:
        """Makes it; it may be there. RuntimeError where the kernel cannot limit memory."""
        for directory in self._directories.values():
            directory.mkdir(exist_ok=True)
        if self._limit:
            if "memory" not in self._directories:
                raise RuntimeError("a memory limit needs the version 1 memory controller here")
            (self._directories["memory"] / "memory.limit_in_bytes").write_text(str(self._limit))

    def enter(self) -> list[str]:
        """Returns the words that, before a command, run that command in the group."""
        files = [str(directory / "cgroup.procs") for directory in self._directories.values()]
        script = 'while [ "$1" != -- ]; do echo $$ >"$1"; shift; done; shift; exec "$@"'
        return ["sh", "-c", script, "enter", *files, "--"]

    def remove(self) -> None:
        """Removes it and the groups below."""
        _remove(self._directories.values())


class ProcessLimits:
    """Groups for one process and what it starts: `memory_max` bytes, `tasks_max` tasks.

    systemd in a container limits nothing where the controllers are of version 1, as the container
    sees them read-only; the host can. RuntimeError where its kernel has none of version 1.
    """

    def __init__(self, name: str, memory_max: int, tasks_max: int) -> None:
        """Makes the groups."""
        found = _hierarchies(LIMITING)
        if not found.keys() >= set(LIMITING):
            raise RuntimeError("the controllers memory and pids of version 1 are not here")
        self._memory, self._pids = (found[key] / f"{name}-limits" for key in LIMITING)
        for group in (self._memory, self._pids):
            group.mkdir()
        (self._memory / "memory.limit_in_bytes").write_text(str(memory_max))
        (self._pids / "pids.max").write_text(str(tasks_max))

    def hold(self, pid: int) -> None:
        """Limits a process of the host; what it had before is not counted."""
        for group in (self._memory, self._pids):
            (group / "cgroup.procs").write_text(str(pid))

    @property
    def peak_bytes(self) -> int:
        """The most memory that was in use at once."""
        return int((self._memory / "memory.max_usage_in_bytes").read_text())

    @property
    def refused_tasks(self) -> int:
        """How often a task was refused."""
        events = dict(
            line.split() for line in (self._pids / "pids.events").read_text().splitlines()
        )
        return int(events["max"])

    def remove(self) -> None:
        """Removes the groups once their processes are gone."""
        _remove((self._memory, self._pids))


def _remove(directories: Iterable[Path]) -> None:
    """Removes groups and those below; the kernel lets go of dying members a little later."""
    for directory in directories:
        for _ in range(100):
            for below, _, _ in os.walk(directory, topdown=False):
                with contextlib.suppress(OSError):
                    Path(below).rmdir()
            if not directory.exists():
                break
            time.sleep(0.02)
