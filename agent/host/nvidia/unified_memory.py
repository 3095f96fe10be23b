# SPDX-License-Identifier: Apache-2.0
"""The host's memory, which is a GPU's where both share one (DGX Spark)."""

from __future__ import annotations

from pathlib import Path

from agent.core.gpu.reading import GpuMemory
from agent.host.machine.figures import read_memory


def host_memory(proc: Path) -> GpuMemory | None:
    """Return MemTotal and MemAvailable of /proc/meminfo, None where they cannot be read."""
    try:
        sizes = read_memory(proc)
        total, free = sizes["MemTotal"], sizes["MemAvailable"]
    except (OSError, ValueError, KeyError):
        return None
    return GpuMemory(total, total - free, free)
