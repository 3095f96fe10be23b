# SPDX-License-Identifier: Apache-2.0
"""What each notifier is: it has a name without secrets, and takes a note or says why not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Note:
    """What is to be told; `severity` is "info", "warning" or "critical"."""

    title: str
    body: str
    severity: str

    @property
    def well(self) -> bool:
        """Whether it says that all is well, for those who know only that and its opposite."""
        return self.severity == "info"


class Notifier(Protocol):
    """One who is told."""

    name: str

    def send(self, note: Note) -> str:
        """Return "" when the note was taken, else why not, without any secret."""
