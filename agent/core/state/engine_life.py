# SPDX-License-Identifier: Apache-2.0
"""What is known of the life of one engine among several of a data-parallel service."""

from __future__ import annotations

from agent.core.record import dataclass


@dataclass(frozen=True, slots=True)
class EngineLife:
    """Times in agent time, 0.0 for never.

    `moved_at` is when its pulse last changed, `asked_at` when a one-token request was last
    addressed to it, `answered_at` when such a request was last answered; `misses` in a row were
    not. `amid_work`: it had work before the last one. Never stored.
    """

    moved_at: float
    asked_at: float = 0.0
    answered_at: float = 0.0
    misses: int = 0
    amid_work: bool = False
