# SPDX-License-Identifier: Apache-2.0
"""Who a process on a GPU is: its short name and the systemd unit that it belongs to."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from agent.core.gpu.reading import GpuProcess
from agent.core.plain import plain
from agent.host.machine.unit_of_process import CONTAINERS, unit_of_groups

LONGEST_NAME: Final = 15
"""The kernel's comm; a command line may hold secrets and is never read."""


def process_of(
    pid: int, used_bytes: int | None, proc: Path, containers: Path = CONTAINERS
) -> GpuProcess:
    """Return what /proc says of a process; name and unit are "" once it has ended."""
    name = unit = ""
    with contextlib.suppress(OSError):
        name = plain((proc / str(pid) / "comm").read_text(errors="replace").strip(), LONGEST_NAME)
        unit = unit_of_groups((proc / str(pid) / "cgroup").read_text(errors="replace"), containers)
    return GpuProcess(pid, name, used_bytes, unit)
