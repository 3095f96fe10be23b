# SPDX-License-Identifier: Apache-2.0
"""Lines of the kernel log to errors of a GPU; what they look like is data."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agent.core.patterns import compile_pattern
from agent.core.record import dataclass

NO_CODE = 79
"""The lines without a code say that the GPU has fallen off the bus, which is what 79 means."""


@dataclass(frozen=True, slots=True)
class XidLine:
    """What one line says: the card by `pci_key`, the code, and the process (0: not named)."""

    pci_bus_id: str
    code: int
    pid: int = 0
    recovery_action: int | None = None


_STAMP = re.compile(r"(?:\[ {0,8}\d{1,12}\.\d{1,6}\] ?)?(?:\[ {0,8}[CT]\d{1,9}\] ?)?")
"""What the kernel itself puts before a line where printk.time is on, and the caller behind it."""


class Xids:
    """The patterns."""

    def __init__(self, patterns: Sequence[str]) -> None:
        """Raises re.error for a pattern that is none."""
        self._patterns = tuple(compile_pattern(pattern) for pattern in patterns)

    def read(self, line: str) -> XidLine | None:
        """Return what a line of the kernel log reports, None for one about anything else.

        Only what the driver begins itself counts: the kernel quotes what any user gives it, as in
        "tmpfs: Unknown parameter 'NVRM: Xid ...'" (Linux 6.18, fs/fs_parser.c) or names of cgroups.
        """
        if "NVRM: " not in line:
            return None
        begin = _STAMP.match(line).end()  # type: ignore[union-attr]  # it matches nothing, too
        for pattern in self._patterns:
            if found := pattern.match(line, begin):
                part = found.groupdict()
                recovery = part.get("recovery")
                return XidLine(
                    pci_key(part["pci"]),
                    int(part.get("code") or NO_CODE),
                    int(part.get("pid") or 0),
                    None if recovery is None else int(recovery, 16),
                )
        return None


def pci_key(bus_id: str) -> str:
    """Return domain:bus:device in one form; NVML has 8 digits of domain, the kernel log 4.

    Text that is no bus id is returned as it is.
    """
    parts = bus_id.lower().partition(".")[0].split(":")
    try:
        domain, bus, device = (int(part, 16) for part in parts)
    except ValueError:
        return bus_id
    return f"{domain:04x}:{bus:02x}:{device:02x}"
