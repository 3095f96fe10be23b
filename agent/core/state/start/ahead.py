# SPDX-License-Identifier: Apache-2.0
"""What is remembered of the files that a start of a service reads, and of reading them ahead."""

from __future__ import annotations

from agent.core.record import dataclass


@dataclass(frozen=True, slots=True)
class FilesRead:
    """What came of reading a service's files ahead of its start.

    `resident_bytes` of `size_bytes` were in memory before, `read_bytes` were read; `stopped` says
    why not all of the rest was, "" where it was.
    """

    files: int
    size_bytes: int
    resident_bytes: int
    read_bytes: int
    stopped: str = ""

    @property
    def resident_share(self) -> float:
        """The share that was in memory before, 0..1."""
        return self.resident_bytes / self.size_bytes if self.size_bytes else 1.0


@dataclass(frozen=True, slots=True)
class Ahead:
    """What a start reads, as it is listed, and the last time that it was read ahead."""

    files: int = 0
    size_bytes: int = 0
    taken_for: str = ""
    """The run whose files were listed last, or were tried to be."""

    reading_since: float = 0.0
    """Since when they are read, in agent time; 0 while they are not."""

    read_for: float = 0.0
    """The time of the planned restart that they were read for last."""

    read: FilesRead | None = None
    read_at: float = 0.0


NOTHING_LISTED = Ahead()


@dataclass(frozen=True, slots=True)
class AheadSeen:
    """A list was taken of the run `invocation_id`; "": what is listed was read, as `read` says.

    `read` is None where nothing was, `problem` says why it came to nothing.
    """

    at: float
    service: str
    invocation_id: str = ""
    files: int = 0
    size_bytes: int = 0
    read: FilesRead | None = None
    problem: str = ""
