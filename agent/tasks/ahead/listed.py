# SPDX-License-Identifier: Apache-2.0
"""The list of what a start reads, as it is kept: a line of JSON a file, in the order to read in.

Only root writes it. What stands in it came from an engine's processes, which may have opened
anything: so what is opened from it is a regular file or is left out, and no more than is bounded
here is looked at.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable, Iterator
from typing import Final, TextIO

from agent.core.record import dataclass
from agent.host.machine.page_cache import Span

MOST_FILES: Final = 60_000
"""A vLLM of 0.32 has 58,000 files, and a start reads 10,000 of them (RUN 0.32)."""

LONGEST_LINE: Final = 16_384
LONGEST_PATH: Final = 4096
MOST_SPANS: Final = 512


@dataclass(frozen=True, slots=True)
class Listed:
    """A file, and which parts of it a start reads."""

    path: str
    spans: tuple[Span, ...]

    @property
    def size_bytes(self) -> int:
        """The bytes of those parts."""
        return sum(length for _, length in self.spans)


def write_list(files: Iterable[Listed], stream: TextIO) -> tuple[int, int]:
    """Write the list, and return how many files and bytes it has."""
    count = size = 0
    for one in files:
        if count == MOST_FILES:
            break
        line = json.dumps([one.path, *one.spans[:MOST_SPANS]])
        if len(line) < LONGEST_LINE:
            stream.write(f"{line}\n")
            count, size = count + 1, size + one.size_bytes
    return count, size


def read_list(stream: TextIO) -> Iterator[Listed]:
    """Give what stands in a list; a line that is none is left out."""
    for _ in range(MOST_FILES):
        line = stream.readline(LONGEST_LINE + 1)
        if not line:
            return
        listed = _listed(line)
        if listed is not None:
            yield listed


def _listed(line: str) -> Listed | None:
    try:
        path, *spans = json.loads(line)
        found = tuple((int(begin), int(length)) for begin, length in spans)
    except (ValueError, TypeError, RecursionError):
        return None
    good = isinstance(path, str) and path.startswith("/") and "\0" not in path
    if not good or any(begin < 0 or length <= 0 for begin, length in found):
        return None
    return Listed(path, found)


def opened(path: str) -> int | None:
    """Open a regular file without a trace in its time of use; None for all else.

    Opening neither waits (for the other end of a FIFO) nor starts anything.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - many files
            return None
        try:
            descriptor = os.open(path, flags | os.O_NOATIME)
        except PermissionError:
            descriptor = os.open(path, flags)  # not the owner's, and no CAP_FOWNER
    except (OSError, ValueError):
        return None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    return None
