# SPDX-License-Identifier: Apache-2.0
"""What a run did for its clients, as access lines and statistics tell it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Served:
    """What the run did for clients since it was ready."""

    probes: int = 0
    answers: int = 0
    answers_ever: int = 0
    idle_stats: int = 0
    blocked: int = 0
    waits: int = 0
    """As `blocked`, also where no line has told that it serves."""

    last_line: str = ""
    idle_line: str = ""

    def take(self, path: str, line: str, *, answered: bool) -> None:
        """Count one request: probes and models are no work."""
        work = path.startswith("/v1/") and path != "/v1/models"
        if answered:
            self.answer(int(work), int(path.startswith(("/health", "/ping"))), line)
        else:
            self.answers_ever += work
            self.last_line = line

    def answer(self, work: int, probes: int, last_line: str) -> None:
        """Count requests that were answered."""
        self.probes += probes
        self.answers += work
        self.answers_ever += work
        if work:
            self.blocked = 0
        self.last_line = last_line

    def wait(self, line: str, *, ready: bool) -> None:
        """Count a minute in which its processes waited for each other."""
        self.blocked += ready
        self.waits += 1
        self.idle_line = line
