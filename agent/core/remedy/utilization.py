# SPDX-License-Identifier: Apache-2.0
"""Arithmetic of gpu_memory_utilization, a share of the card's total memory.

It follows vLLM's own accounting (gpu_worker.determine_available_memory, vLLM 0.9..0.32). What was
too high and what was too low is never tried again: both ways end half way between the two.
"""

from __future__ import annotations

import math

from agent.core.engine.install import release_of
from agent.core.remedy.case import Bound, Case, Change

NAME = "gpu_memory_utilization"

MARGIN_GIB = 0.3
"""Left free beside what vLLM reserves: contexts and allocator rounding come on top."""

HOST_MARGIN_GIB = 0.5
HOST_MARGIN_SHARE = 0.04
"""The same in host memory, where page cache counts as used and moves by a few percent between two
starts (0.4 of 4 GiB measured with vLLM's CPU build 0.32, 4 to 6 of 121 GiB published for GB10)."""

SHARED_BELOW = 0.9
"""With less than this share free before a start, somebody else holds a part of the card."""

STEP = 0.01

BIG_SHARE = 0.05
"""An allocation of more than this share of the card is the KV cache's, or as big a one."""

KV_AT_LEAST_GIB = 0.05
"""Less than this is no KV cache: numbers are printed in hundredths, and a block takes some."""

GRAPHS_ARE_COUNTED_SINCE = (0, 21)
"""From this release on vLLM takes the memory of CUDA graphs off what the KV cache gets."""


def lower_to_what_is_free(case: Case) -> Change | None:
    """Ask for no more than was free when the start was refused."""
    fits = share_that_fits(case)
    if fits is None:
        return one_step_down(case)
    low = case.bound(NAME).too_low
    if low is not None and fits <= low:
        return None
    free, total = case.numbers.free_gib, case.numbers.total_gib
    why = f"{free:g} of {total:g} GiB are free, ({free:g} - {_margin(case):.2g}) / {total:g}"
    return _lowered(case, fits, why)


def one_step_down(case: Case) -> Change | None:
    """Lower it by the step that the limits name."""
    step = case.recovery.gpu_memory_utilization_step
    return _lower(case, case.utilization - step, f"one step of {step:g} down")


def down_by_what_was_missing(case: Case) -> Change | None:
    """Lower it by the allocation that failed, and 0.02; by what a big one lacked where it is told.

    A part of the card that is free is no small allocation's: the next one needs as much again.
    """
    tried, total, free = case.numbers.tried_gib, case.numbers.total_gib, case.numbers.free_gib
    if tried is None or not total:
        return one_step_down(case)
    if free is not None and tried > BIG_SHARE * total and free < tried:
        lacks = tried - free
        why = f"{tried:g} GiB were needed and {free:g} of {total:g} GiB free, and 0.02 to spare"
        return _lower(case, case.utilization - lacks / total - 0.02, why)
    why = f"{tried:g} GiB more were needed of {total:g} GiB, and 0.02 to spare"
    return _lower(case, case.utilization - tried / total - 0.02, why)


def down_by_the_graphs(case: Case) -> Change | None:
    """Lower it by what vLLM itself estimates for CUDA graphs and does not count (0.18..0.20)."""
    numbers, release = case.numbers, release_of(case.vllm_version or "")
    estimate, equivalent = numbers.cuda_graph_estimate_gib, numbers.equivalent_utilization
    if estimate is None or case.running.kv_cache_memory_bytes is not None:
        return None
    if release >= GRAPHS_ARE_COUNTED_SINCE:
        return None
    why = f"vLLM estimates {estimate:g} GiB for CUDA graphs, which it does not count"
    if numbers.total_gib:
        return _lower(case, case.utilization - estimate / numbers.total_gib, why)
    if equivalent is not None and equivalent > case.utilization:
        return _lower(case, 2 * case.utilization - equivalent, why)
    return None


def out_of_reach(case: Case) -> str:
    """Return why no share up to the ceiling leaves anything for the KV cache, "" where one may."""
    short, total = -(case.numbers.available_kv_gib or 0.0), case.numbers.total_gib
    if short <= 0.0 or not total:
        return ""
    gained = max(0.0, _highest(case) - case.utilization) * total
    if short < gained + KV_AT_LEAST_GIB:
        return ""
    return f"{short:g} GiB are missing, and {_highest(case):g} of the card gives {gained:.2f} GiB"


def raise_for_any_kv(case: Case) -> Change | None:
    """Raise it by what the KV cache lacks altogether, and half a GiB.

    Not where that is sure to be too little: a smaller peak may do alone, or brings it into reach.
    """
    if out_of_reach(case):
        return None
    short = abs(min(case.numbers.available_kv_gib or 0.0, 0.0))
    wanted = short + (case.numbers.needed_kv_gib or 0.0) + 0.5
    if case.numbers.total_gib:
        why = f"{wanted:.2f} GiB more for the KV cache of {case.numbers.total_gib:g} GiB"
        return _raise(case, case.utilization + wanted / case.numbers.total_gib, why)
    return _raise(case, case.ceiling, "no memory is left for the KV cache, to the ceiling")


def raise_for_one_request(case: Case) -> Change | None:
    """Raise it by what one request of full length lacks: less than that is worth no start."""
    needed, available = case.numbers.needed_kv_gib, case.numbers.available_kv_gib
    if needed is None or available is None or not case.numbers.total_gib:
        return None
    value = _ceil2(case.utilization + (needed - available) / case.numbers.total_gib)
    too_high = case.bound(NAME).too_high
    if value > _highest(case) or (too_high is not None and value >= too_high):
        return None
    why = f"one request needs {needed:g} GiB of KV cache, {available:g} GiB are available"
    return _raise(case, value, why)


def raise_to_the_ceiling(case: Case) -> Change | None:
    """Raise it as far as it goes, where the longest request that fits is below its floor."""
    return _raise(case, case.ceiling, "the longest request that fits is below its floor")


def share_that_fits(case: Case) -> float | None:
    """Return what the printed free memory allows; None where none was printed."""
    free, total = case.numbers.free_gib, case.numbers.total_gib
    if free is None or not total:
        return None
    return floor2((free - _margin(case)) / total)


def is_shared(case: Case) -> bool:
    """Tell whether the printed free memory shows that somebody else is on the card."""
    free, total = case.numbers.free_gib, case.numbers.total_gib
    return free is not None and bool(total) and free < SHARED_BELOW * (total or 0.0)


def sum_of_neighbours(case: Case) -> str:
    """Return why the ceiling is where it is, "" when no service of ours shares the card."""
    if not case.neighbours or case.ceiling >= case.recovery.max_gpu_memory_utilization:
        return ""
    others = ", ".join(f"service.{name} takes {value:g}" for name, value in case.neighbours.items())
    return f"{others} of the same card, so at most {max(0.0, case.ceiling):.2f} is left for this"


def floor2(value: float) -> float:
    """Round down to hundredths, which is as fine as it is ever set."""
    return math.floor(value * 100 + 1e-6) / 100


def _ceil2(value: float) -> float:
    return math.ceil(value * 100 - 1e-6) / 100


def _margin(case: Case) -> float:
    if not case.host_memory:
        return MARGIN_GIB
    return HOST_MARGIN_GIB + HOST_MARGIN_SHARE * (case.numbers.total_gib or 0.0)


def _highest(case: Case) -> float:
    fits = case.bound(NAME).fits
    return case.ceiling if fits is None else min(case.ceiling, fits)


def _lower(case: Case, value: float, why: str) -> Change | None:
    value, low = floor2(value), case.bound(NAME).too_low
    if low is not None and value <= low:
        value = floor2((low + case.utilization) / 2)
        why = f"half way to {low:g}, which is too low"
    return None if low is not None and value <= low else _lowered(case, value, why)


def _lowered(case: Case, value: float, why: str) -> Change | None:
    value = min(value, case.recovery.max_gpu_memory_utilization)
    if value >= case.utilization or value < case.recovery.min_gpu_memory_utilization:
        return None
    return Change(NAME, value, f"{why}: {case.utilization:g} -> {value:g}")


def _raise(case: Case, value: float, why: str) -> Change | None:
    bound: Bound = case.bound(NAME)
    highest = floor2(_highest(case))
    value = min(_ceil2(value), highest)
    if bound.too_low is not None:
        value = max(value, floor2(bound.too_low + STEP))
    if bound.too_high is not None and value >= bound.too_high:
        value = floor2((max(case.utilization, bound.too_low or 0.0) + bound.too_high) / 2)
        why = f"{why}, half way to {bound.too_high:g}, which is too high"
    if value < case.utilization + STEP - 1e-9 or value > highest:
        return None
    if bound.too_low is not None and value <= bound.too_low:
        return None
    limit = sum_of_neighbours(case) if value == highest else ""
    why = f"{why} ({limit})" if limit else why
    return Change(NAME, value, f"{why}: {case.utilization:g} -> {value:g}")
