# SPDX-License-Identifier: Apache-2.0
"""What a run did for its clients, as access lines and statistics tell it."""

from __future__ import annotations

from agent.core.diagnosis.usual import Answers
from agent.core.record import dataclass


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

    def take_one(self, path: str, line: str, *, answered: bool) -> None:
        """Count one request: probes and models are no work."""
        work = path.startswith("/v1/") and path != "/v1/models"
        probe = path.startswith(("/health", "/ping"))
        self.take(Answers("", work, probe, (line,), answered), line)

    def take(self, said: Answers, last_line: str) -> None:
        """Count requests: only one that was accepted shows that the engine works."""
        self.answers_ever += said.work
        self.last_line = last_line
        if said.accepted:
            self.probes += said.probes
            self.answers += said.work
            self.blocked = 0 if said.work else self.blocked

    def count(self, running: int, line: str, *, moved: bool) -> None:
        """Count one line of statistics: tokens moved, or they did not though requests ran."""
        if moved:
            self.idle_stats = self.blocked = 0
            self.answers += 1
            self.answers_ever += 1
        else:
            self.idle_stats += running > 0
            self.idle_line = line

    def wait(self, line: str, *, ready: bool) -> None:
        """Count a minute in which its processes waited for each other."""
        self.blocked += ready
        self.waits += 1
        self.idle_line = line
