# SPDX-License-Identifier: Apache-2.0
"""Arithmetic of kv_cache_memory_bytes.

Where it is set, vLLM reserves exactly that much for the KV cache and gpu_memory_utilization counts
for the check of free memory alone (0.10.2..0.32).
"""

from __future__ import annotations

from agent.core.measures import GIB
from agent.core.remedy.case import Case, Change

NAME = "kv_cache_memory_bytes"
ROUND_BYTES = 64 * 1024**2
SPARE_SHARE = 0.02
"""Lowered by this share of the card more than what was missing."""


def lower_by_what_was_missing(case: Case) -> Change | None:
    """Give up what the failed allocation lacked, and a little of the card to spare."""
    current = case.running.kv_cache_memory_bytes
    if current is None:
        return None
    tried, free, total = case.numbers.tried_gib, case.numbers.free_gib, case.numbers.total_gib
    spare = SPARE_SHARE * total if total else SPARE_SHARE * current / GIB
    missing = max(0.0, (tried or 0.0) - (free or 0.0)) + spare
    why = f"{missing:.2f} GiB were missing beside the KV cache"
    value, low = current - int(missing * GIB), case.bound(NAME).too_low
    if low is not None and value <= low:
        value = int(low + current) // 2
        why = f"half way to {low / GIB:.2f} GiB, which is too low"
    value = value // ROUND_BYTES * ROUND_BYTES
    if value < case.recovery.min_kv_cache_memory_bytes or (low is not None and value <= low):
        return None
    return _change(current, value, why) if value < current else None


def raise_for_one_request(case: Case) -> Change | None:
    """Add what one request of full length needs beyond what was asked."""
    current, needed = case.running.kv_cache_memory_bytes, case.numbers.needed_kv_gib
    if current is None or needed is None:
        return None
    available = case.numbers.available_kv_gib
    missing = needed - (current / GIB if available is None else available)
    wanted = -(-(current + int(missing * GIB)) // ROUND_BYTES) * ROUND_BYTES
    bound = case.bound(NAME)
    if bound.too_high is not None and wanted >= bound.too_high:
        return None
    if wanted > _ceiling(case) or wanted <= current or wanted <= (bound.too_low or 0.0):
        return None
    why = f"one request needs {needed:g} GiB of KV cache"
    return _change(current, wanted, why)


def _ceiling(case: Case) -> float:
    ceiling = float(case.recovery.max_kv_cache_memory_bytes)
    total = case.numbers.total_gib
    return min(ceiling, case.ceiling * total * GIB) if total else ceiling


def _change(current: int, value: int, why: str) -> Change:
    return Change(NAME, value, f"{why}: {current / GIB:.2f} -> {value / GIB:.2f} GiB")
