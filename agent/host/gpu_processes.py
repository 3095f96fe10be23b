# SPDX-License-Identifier: Apache-2.0
"""Who a process on a GPU is: its short name and the systemd unit that it belongs to."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from agent.core.gpu import GpuProcess

LONGEST_NAME: Final = 15
"""The kernel's comm; a command line may hold secrets and is never read."""
UNITS: Final = (".service", ".scope")


def process_of(pid: int, used_bytes: int | None, proc: Path) -> GpuProcess:
    """Return what /proc says of a process; name and unit are "" once it has ended."""
    name = unit = ""
    with contextlib.suppress(OSError):
        name = (proc / str(pid) / "comm").read_text(errors="replace").strip()[:LONGEST_NAME]
        unit = unit_in((proc / str(pid) / "cgroup").read_text(errors="replace"))
    return GpuProcess(pid, name, used_bytes, unit)


def unit_in(cgroup: str) -> str:
    """Return the innermost unit of /proc/PID/cgroup: of version 2's line, or of systemd's own."""
    for line in cgroup.splitlines():
        hierarchy, controllers, path = (*line.split(":", 2), "", "")[:3]
        if hierarchy == "0" or controllers == "name=systemd":
            for part in reversed(path.split("/")):
                if part.endswith(UNITS):
                    return part
    return ""
