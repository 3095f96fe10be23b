# SPDX-License-Identifier: Apache-2.0
"""[notify] of agent.toml: who hears of it, how much, and when."""

from __future__ import annotations

from enum import StrEnum

from agent.core.record import dataclass
from agent.core.settings.recovery import Window


class Severity(StrEnum):
    """How much a person must know it, the least first."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """A number that is higher for the more severe."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Notify:
    """Nothing is sent without `urls_file`, nobody is pinged without `dead_mans_switch_file`.

    Both are paths of files that only root may read, "" for none. `least` is the least severity
    that is sent, `quiet` a span of the day in which only what is critical is. `digest` is the time
    of day of a summary, in seconds since midnight, None for none. Times in seconds:
    `after_seconds` is how long a service is away before that is told though it is not over,
    `dead_mans_switch_seconds` the rest between two pings.
    """

    urls_file: str = ""
    least: Severity = Severity.WARNING
    quiet: Window | None = None
    digest: int | None = None
    after_seconds: float = 300.0
    dead_mans_switch_file: str = ""
    dead_mans_switch_seconds: float = 300.0

    @property
    def anybody(self) -> bool:
        """Whether anybody is told of anything, or a switch asked for."""
        return bool(self.urls_file or self.dead_mans_switch_file)
