# SPDX-License-Identifier: Apache-2.0
"""The host's memory, which is a GPU's where both share one (DGX Spark)."""

from __future__ import annotations

from pathlib import Path

from agent.core.gpu.reading import GpuMemory


def host_memory(proc: Path) -> GpuMemory | None:
    """Return MemTotal and MemAvailable of /proc/meminfo, None where they cannot be read."""
    try:
        lines = (proc / "meminfo").read_text().splitlines()
        sizes = {name: int(rest.split()[0]) * 1024 for name, _, rest in map(_parts, lines) if rest}
        total, free = sizes["MemTotal"], sizes["MemAvailable"]
    except (OSError, ValueError, KeyError, IndexError):
        return None
    return GpuMemory(total, total - free, free)


def _parts(line: str) -> tuple[str, str, str]:
    return line.partition(":")
