# SPDX-License-Identifier: Apache-2.0
"""A control group for each container.

systemd-nspawn --keep-unit puts its container below the caller's group, so two containers of one
caller would share /payload, and each systemd would take the other's services for its own.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path


def _hierarchies() -> list[Path]:
    """Returns our own group's directory in each hierarchy that systemd keeps its units in."""
    mounts: dict[str, str] = {}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, target, kind, options, *_ = line.split()
        if kind == "cgroup2":
            mounts[""] = target
        elif kind == "cgroup" and "name=systemd" in options.split(","):
            mounts["name=systemd"] = target
    found = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers in mounts:
            found.append(Path(mounts[controllers]) / group.lstrip("/"))
    return found


class Cgroup:
    """A group below our own, by one name in each hierarchy."""

    def __init__(self, name: str) -> None:
        self._directories = [hierarchy / name for hierarchy in _hierarchies()]

    def make(self) -> None:
        """Makes it; it may be there."""
        for directory in self._directories:
            directory.mkdir(exist_ok=True)

    def enter(self) -> list[str]:
        """Returns the words that, before a command, run that command in the group."""
        files = [str(directory / "cgroup.procs") for directory in self._directories]
        script = 'while [ "$1" != -- ]; do echo $$ >"$1"; shift; done; shift; exec "$@"'
        return ["sh", "-c", script, "enter", *files, "--"]

    def remove(self) -> None:
        """Removes it and the groups below; the kernel lets go of dying members a little later."""
        for directory in self._directories:
            for _ in range(100):
                for below, _, _ in os.walk(directory, topdown=False):
                    with contextlib.suppress(OSError):
                        Path(below).rmdir()
                if not directory.exists():
                    break
                time.sleep(0.02)
