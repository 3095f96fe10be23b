# SPDX-License-Identifier: Apache-2.0
"""How a release prefixes its lines, and invented values for the places in a text.

Formats after vLLM's logger.py and system_utils.py of 0.6.3 to 0.33: a bare prefix and one engine
process until 0.7, bracketed files since 0.8, process names since 0.10, and since 0.31 a name only
in log records.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_VALUE = re.compile(r"⟦(\w*)⟧")
_NUMBERS = re.compile(
    r"size|num|len|rank|count|max|min|idx|index|dim|shape|bytes|tokens|blocks?|port|bits|seqs|heads"
    r"|world|capability|limit|seconds|timeout|id$|pid|n_|^[a-z]$|step|layer"
)

_NAMED = {"shm_path": "/dev/shm", "device_str": "GPU"}
"""What vLLM prints there and nothing else."""


def value_for(name: str) -> str:
    """Return an invented value for an expression of this name."""
    low = name.lower()
    if low in _NAMED:
        return _NAMED[low]
    if "dtype" in low:
        return "torch.float32"
    if "capability" in low:
        return "75"
    if "path" in low or "dir" in low or "file" in low:
        return "/srv/models/m"
    if "device" in low:
        return "cuda:0"
    if "url" in low or "addr" in low:
        return "tcp://10.0.0.1:5555"
    if "shape" in low:
        return "torch.Size([8, 16])"
    return "8" if _NUMBERS.search(low) else "odd"


def filled(template: str) -> str:
    """Return a template with invented values."""
    return _VALUE.sub(lambda found: value_for(found.group(1)), template)


@dataclass(frozen=True, slots=True)
class Era:
    """How one release prefixes its lines; `release` is a version such as 0.8.5.post1."""

    release: str

    @property
    def minor(self) -> int:
        """The second number of the version."""
        return int(self.release.split(".")[1])

    def record(self, process: str, level: str, source: str, text: str) -> list[str]:
        """Return a log record, prefixed on each of its lines."""
        named = f"({process} pid={100 + len(process)}) " if self.minor >= 10 else ""
        place = f"[{source}:123]" if self.minor >= 8 else f"{source}:123]"
        head = f"{named}{level} 11-12 10:00:00 {place} "
        return [head + line for line in text.split("\n")]

    def raw(self, process: str, text: str) -> list[str]:
        """Return what a process prints without its logger."""
        named = f"({process} pid={100 + len(process)}) " if 10 <= self.minor < 31 else ""
        return [named + line for line in text.split("\n")]

    @property
    def core(self) -> str:
        """The name of the engine's process."""
        return "EngineCore_DP0" if self.minor < 18 else "EngineCore"
