# SPDX-License-Identifier: Apache-2.0
"""The limits of a unit, of the kernel and of the host."""

from __future__ import annotations

from pathlib import Path

from agent.core.doctor.limits import Limits
from agent.core.numerals import whole_number
from agent.host.probes.command import output_of

SYS = Path("/proc/sys/fs")


def limits(unit: str) -> Limits | None:
    """Return the limits of a unit; None when not even the kernel tells its own."""
    try:
        ceiling = int((SYS / "nr_open").read_text())
        opened, _, most = (SYS / "file-nr").read_text().split()
    except (OSError, ValueError):
        return None
    names = ("LoadState", "LimitNOFILE", "LimitMEMLOCK", "TasksMax")
    said = output_of("systemctl", "show", unit, *(f"--property={name}" for name in names))
    values = dict(line.partition("=")[::2] for line in (said or "").splitlines())
    loaded = values.get("LoadState") == "loaded"
    return Limits(
        loaded=loaded,
        files=_number(values.get("LimitNOFILE")) if loaded else None,
        locked_bytes=_number(values.get("LimitMEMLOCK")) if loaded else None,
        tasks=_number(values.get("TasksMax")) if loaded else None,
        ceiling=ceiling,
        open_files=int(opened),
        most_files=whole_number(most) or 0,
    )


def _number(word: str | None) -> int | None:
    # "infinity", and systemd's own 2^64-1, are no limit.
    return whole_number(word) if word else None
