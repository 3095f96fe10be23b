# SPDX-License-Identifier: Apache-2.0
"""Which boot of the host this is."""

from __future__ import annotations

from pathlib import Path


def boot_id() -> str:
    """Return what differs after each boot: the kernel's boot id and the start time of PID 1.

    A container sees its host's boot id in a service with a /proc of its own; PID 1 is its own.
    """
    start_time = Path("/proc/1/stat").read_text().rpartition(")")[2].split()[19]
    kernel = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{kernel}:{start_time}"


def in_wsl() -> bool:
    """Tell whether the kernel is that of the Windows Subsystem for Linux."""
    return "microsoft" in Path("/proc/sys/kernel/osrelease").read_text().lower()
