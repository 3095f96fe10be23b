# SPDX-License-Identifier: Apache-2.0
"""What /proc tells: memory, processes and their units, who listens where."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from agent.core.doctor.host import EngineProcess, HostMemory, Listener
from agent.core.plain import plain
from agent.host.machine.figures import read_memory
from agent.host.machine.unit_of_process import unit_of_groups

PROC = Path("/proc")
_ENGINE = re.compile(rb"VLLM::|vllm\.entrypoints|(?:^|[/\x00])vllm\x00(?:serve|run-batch)\x00")
_LISTENING = "0A"


def memory() -> HostMemory:
    """Return the host's memory in bytes, zeros where the kernel does not tell."""
    values = read_memory(PROC)
    try:
        shm = os.statvfs("/dev/shm")  # noqa: S108
        sizes = (shm.f_blocks * shm.f_frsize, shm.f_bavail * shm.f_frsize)
    except OSError:
        sizes = (0, 0)
    return HostMemory(
        total=values.get("MemTotal", 0),
        available=values.get("MemAvailable", 0),
        swap_total=values.get("SwapTotal", 0),
        swap_free=values.get("SwapFree", 0),
        shm_total=sizes[0],
        shm_free=sizes[1],
    )


def unit_of(pid: int) -> str:
    """Return the systemd unit that the process belongs to by its cgroup, "" for none."""
    try:
        return unit_of_groups((PROC / str(pid) / "cgroup").read_text(errors="replace"))
    except OSError:
        return ""


def name_of(pid: int) -> str:
    """Return the short name of a process, "" when it is gone."""
    try:
        return plain((PROC / str(pid) / "comm").read_text(errors="replace").strip())
    except OSError:
        return ""


def engines(own_units: frozenset[str]) -> tuple[EngineProcess, ...]:
    """Return the processes of vLLM's that are in none of these units."""
    found = []
    for pid in _pids():
        try:
            argv = (PROC / str(pid) / "cmdline").read_bytes()
        except OSError:
            continue
        name = name_of(pid)
        python = b"python" in argv.partition(b"\0")[0] or name.startswith("VLLM::")
        if not (python and _ENGINE.search(argv)):
            continue
        unit = unit_of(pid)
        if unit not in own_units:
            found.append(EngineProcess(pid, name, unit))
    return tuple(found)


def listener(port: int) -> Listener | None:
    """Return who listens on a TCP port; pid 0 when the process cannot be seen (run as root)."""
    inodes = {inode for inode, at in _listening() if at == port}
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for pid in _pids():
        if wanted & _sockets(pid):
            return Listener(pid, name_of(pid), unit_of(pid))
    return Listener(0, "a process that only root can see", "")


def _listening() -> Iterator[tuple[str, int]]:
    for name in ("tcp", "tcp6"):
        try:
            lines = (PROC / "net" / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTENING:
                yield fields[9], int(fields[1].rpartition(":")[2], 16)


def _sockets(pid: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):
        for entry in (PROC / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(entry.readlink()))
    return found


def _pids() -> list[int]:
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdecimal()]


def uptime_seconds() -> float:
    """Return how long the kernel has run."""
    return float((PROC / "uptime").read_text().split()[0])


def kernel_command_line() -> str:
    """Return what the kernel was started with."""
    return (PROC / "cmdline").read_text().strip()


def nvswitches() -> int:
    """Return how many NVSwitch devices the driver shows."""
    directory = PROC / "driver/nvidia-nvswitch/devices"
    return len(list(directory.iterdir())) if directory.is_dir() else 0
