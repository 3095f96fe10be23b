# SPDX-License-Identifier: Apache-2.0
"""Which directories of compiled code nobody will use again: what an engine that is gone has left.

vLLM keeps each compiled model under a hash of its version, settings and code
(VLLM_CACHE_ROOT/torch_compile_cache/HASH and torch_compile_cache/torch_aot_compile/HASH, 0.32), and
removes none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from agent.core.measures import GIB, HOUR_SECONDS
from agent.core.record import dataclass

BUDGET_BYTES = 10 * GIB
"""What of a service's compiled code is kept though its last start did not use it, newest first."""

ATIME_SECONDS = 25 * HOUR_SECONDS
"""With relatime the time of the last read is up to a day behind (mount(8))."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """One directory; `used_at`, in Unix time, is when any of its files was read or written last."""

    path: str
    size_bytes: int
    used_at: float


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed of one service's compiled code."""

    service: str
    directories: int
    size_bytes: int


def not_used_again(
    found: Iterable[Compiled], started_at: float, budget_bytes: int = BUDGET_BYTES
) -> Iterator[Compiled]:
    """Give what may go: beyond the budget, and never what the start at `started_at` has used."""
    left = [one for one in found if one.used_at < started_at - ATIME_SECONDS]
    kept = 0
    for one in sorted(left, key=lambda one: (-one.used_at, one.path)):
        kept += one.size_bytes
        if kept > budget_bytes:
            yield one
