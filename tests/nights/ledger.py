# SPDX-License-Identifier: Apache-2.0
"""How long each service served of the time in which its operator wanted it to."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Ledger:
    """Seconds; what was not served is booked on the last thing that happened."""

    wanted: float = 0.0
    served: float = 0.0
    lost: dict[str, float] = field(default_factory=dict)
    _last: dict[str, tuple[float, bool, bool]] = field(default_factory=dict)

    def book(self, service: str, now: float, *, wanted: bool, serves: bool, blame: str) -> None:
        """Account for the time since the last booking, then take note of how it is now."""
        since, was_wanted, did_serve = self._last.get(service, (now, wanted, serves))
        self._last[service] = (now, wanted, serves)
        seconds = now - since
        if not was_wanted or not seconds:
            return
        self.wanted += seconds
        if did_serve:
            self.served += seconds
        else:
            self.lost[blame] = self.lost.get(blame, 0.0) + seconds

    def add(self, other: Ledger) -> None:
        """Add another night's account."""
        self.wanted += other.wanted
        self.served += other.served
        for blame, seconds in other.lost.items():
            self.lost[blame] = self.lost.get(blame, 0.0) + seconds
