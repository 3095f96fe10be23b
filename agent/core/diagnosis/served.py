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
    last_line: str = ""
    idle_line: str = ""
