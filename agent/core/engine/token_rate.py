# SPDX-License-Identifier: Apache-2.0
"""How fast a service generates while it is busy, and what is usual for it."""

from __future__ import annotations

from agent.core.engine.metrics import Counters

SHARE_OF_THE_NEW = 0.05
"""What one look adds to the usual rate: half of it is younger than 14 looks."""


def rate(before: Counters | None, now: Counters, seconds: float) -> float | None:
    """Return generated tokens per second between two looks, None unless it was busy all the time.

    A new engine's counters begin at 0: what fell says nothing.
    """
    if before is None or seconds <= 0 or not before.running or not now.running:
        return None
    generated = now.generation_tokens - before.generation_tokens
    return generated / seconds if generated >= 0 else None


def usual(known: float | None, looks: int, new: float) -> float:
    """Return the usual rate with one more look in it; `looks` counts those before.

    At first it is the mean of all looks.
    """
    if known is None:
        return new
    return known + max(SHARE_OF_THE_NEW, 1 / (looks + 1)) * (new - known)
