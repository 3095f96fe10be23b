# SPDX-License-Identifier: Apache-2.0
"""Memory, swap and load from /proc (proc_meminfo(5), proc_loadavg(5))."""

from __future__ import annotations

from pathlib import Path

from agent.core.view.host import Machine

KIB = 1024


def read_machine(proc: Path = Path("/proc")) -> Machine:
    """Read the figures of the whole host.

    Raises OSError when /proc is not there, KeyError when the kernel has not all of them.
    """
    kib = {}
    for line in (proc / "meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        kib[name] = int(rest.split()[0])
    loads = (proc / "loadavg").read_text().split()
    return Machine(
        memory_total_bytes=kib["MemTotal"] * KIB,
        memory_available_bytes=kib["MemAvailable"] * KIB,
        swap_total_bytes=kib["SwapTotal"] * KIB,
        swap_free_bytes=kib["SwapFree"] * KIB,
        load1=float(loads[0]),
        load5=float(loads[1]),
        load15=float(loads[2]),
    )
