# SPDX-License-Identifier: Apache-2.0
"""What a service uses, from its control group and its processes' open files.

Works with version 2 of control groups, with version 1, and with both side by side: each figure is
taken where the service has a group of its own (cgroups(7), kernel's cgroup-v2.rst and
cgroup-v1/{memory,cpuacct}.rst). A service that shares a group with others has no figure.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from agent.core.record import dataclass
from agent.core.view.host import ServiceUsage

VERSION_2 = ""
SYSTEMD = "name=systemd"
NANOSECONDS = 1e9
MICROSECONDS = 1e6


@dataclass(frozen=True, slots=True)
class Mounts:
    """Where each hierarchy is: by controller for version 1, VERSION_2 for version 2."""

    directories: dict[str, Path]


def read_mounts(proc: Path = Path("/proc")) -> Mounts:
    """Read where the hierarchies are mounted; they stay there until the next boot."""
    found: dict[str, Path] = {}
    for line in (proc / "self/mounts").read_text().splitlines():
        _, target, kind, options, *_ = line.split(" ")
        if kind == "cgroup2":
            found[VERSION_2] = Path(target)
        elif kind == "cgroup":
            found |= {name: Path(target) for name in options.split(",")}
    return Mounts(found)


def read_usage(
    unit: str, main_pid: int, mounts: Mounts, proc: Path = Path("/proc")
) -> ServiceUsage:
    """Read what `unit`, whose main process is `main_pid`, uses.

    Raises OSError when that process is gone.
    """
    groups = _groups(unit, (proc / str(main_pid) / "cgroup").read_text(), mounts)
    pids = _pids(groups) or (main_pid,)
    files, limit = _open_files(pids, proc)
    return ServiceUsage(
        processes=len(pids),
        cpu_seconds=_cpu_seconds(groups),
        memory_bytes=_number(groups, (VERSION_2, "memory.current"), V1_MEMORY),
        memory_peak_bytes=_number(groups, (VERSION_2, "memory.peak"), V1_MEMORY_PEAK),
        open_files=files,
        open_files_limit=limit,
    )


V1_MEMORY = ("memory", "memory.usage_in_bytes")
V1_MEMORY_PEAK = ("memory", "memory.max_usage_in_bytes")


def _groups(unit: str, text: str, mounts: Mounts) -> dict[str, Path]:
    """Return the directories of the unit's own groups by hierarchy."""
    found = {}
    for line in text.splitlines():
        _, controllers, group = line.split(":", 2)
        before, own, _ = group.partition(f"/{unit}")
        if not own:
            continue
        for name in controllers.split(","):
            if name in mounts.directories:
                found[name] = mounts.directories[name] / f"{before}{own}".lstrip("/")
    return found


def _number(groups: dict[str, Path], *places: tuple[str, str]) -> int | None:
    for hierarchy, file in places:
        if hierarchy in groups:
            with contextlib.suppress(OSError, ValueError):
                return int((groups[hierarchy] / file).read_text())
    return None


def _cpu_seconds(groups: dict[str, Path]) -> float | None:
    nanoseconds = _number(groups, ("cpuacct", "cpuacct.usage"))
    if nanoseconds is not None:
        return nanoseconds / NANOSECONDS
    if VERSION_2 in groups:
        with contextlib.suppress(OSError):
            for line in (groups[VERSION_2] / "cpu.stat").read_text().splitlines():
                name, _, value = line.partition(" ")
                if name == "usage_usec":
                    return int(value) / MICROSECONDS
    return None


def _pids(groups: dict[str, Path]) -> tuple[int, ...]:
    for hierarchy in (VERSION_2, SYSTEMD, "memory"):
        if hierarchy in groups:
            with contextlib.suppress(OSError):
                return tuple(_pids_below(groups[hierarchy]))
    return ()


def _pids_below(group: Path) -> Iterator[int]:
    """Yield the processes of a group and of those below it: podman makes some for a container."""
    yield from map(int, (group / "cgroup.procs").read_text().split())
    for below in sorted(group.glob("*/**/cgroup.procs")):
        with contextlib.suppress(OSError):
            yield from map(int, below.read_text().split())


def _open_files(pids: tuple[int, ...], proc: Path) -> tuple[int | None, int | None]:
    """Return open files and limit of the process that is nearest to its limit."""
    nearest = max(_files_of(pids, proc), key=lambda found: found[0] / found[1], default=None)
    return nearest or (None, None)


def _files_of(pids: tuple[int, ...], proc: Path) -> Iterator[tuple[int, int]]:
    for pid in pids:
        # It may have ended meanwhile, or the kernel may not let us look.
        with contextlib.suppress(OSError, ValueError):
            limits = (proc / str(pid) / "limits").read_text()
            soft = limits.partition("Max open files")[2].split()[0]
            yield sum(1 for _ in (proc / str(pid) / "fd").iterdir()), int(soft)
