# SPDX-License-Identifier: Apache-2.0
"""Memory, swap and load from /proc (proc_meminfo(5), proc_loadavg(5))."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agent.core.view.host import Machine


def read_memory(proc: Path = Path("/proc")) -> Mapping[str, int]:
    """Return what /proc/meminfo tells, by its names ("MemTotal"), in bytes (its "kB" are KiB).

    Raises OSError when it cannot be read, ValueError when it is none.
    """
    sizes = {}
    for line in (proc / "meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        if words := rest.split():
            sizes[name] = int(words[0]) * 1024
    return sizes


def read_machine(proc: Path = Path("/proc")) -> Machine:
    """Read the figures of the whole host.

    Raises OSError when /proc is not there, KeyError when the kernel has not all of them.
    """
    sizes = read_memory(proc)
    loads = (proc / "loadavg").read_text().split()
    return Machine(
        memory_total_bytes=sizes["MemTotal"],
        memory_available_bytes=sizes["MemAvailable"],
        swap_total_bytes=sizes["SwapTotal"],
        swap_free_bytes=sizes["SwapFree"],
        load1=float(loads[0]),
        load5=float(loads[1]),
        load15=float(loads[2]),
    )
