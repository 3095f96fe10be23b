# SPDX-License-Identifier: Apache-2.0
"""How long to wait before the next try."""

from __future__ import annotations

from agent.core.measures import HOUR_SECONDS
from agent.core.settings.recovery import Recovery


def backoff_seconds(recovery: Recovery, attempts: int) -> float:
    """Return the wait after so many failed tries: none for the first, then doubling."""
    if attempts <= 1:
        return 0.0
    doublings = min(attempts - 2, 20)
    return float(min(recovery.backoff_min_seconds * 2**doublings, recovery.backoff_max_seconds))


def end_of_budget(starts: tuple[float, ...], most: int, now: float) -> float:
    """Return when `most` starts an hour allow the next one after these; `now` when at once."""
    recent = [at for at in starts if at > now - HOUR_SECONDS]
    return recent[-most] + HOUR_SECONDS if len(recent) >= most else now
