# SPDX-License-Identifier: Apache-2.0
"""How long to wait before the next try."""

from __future__ import annotations

from agent.core.settings import Recovery


def backoff_seconds(recovery: Recovery, attempts: int) -> float:
    """Return the wait after so many failed tries: none for the first, then doubling."""
    if attempts <= 1:
        return 0.0
    doublings = min(attempts - 2, 20)
    return float(min(recovery.backoff_min_seconds * 2**doublings, recovery.backoff_max_seconds))
