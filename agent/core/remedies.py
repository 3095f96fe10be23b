# SPDX-License-Identifier: Apache-2.0
"""From a failure and its printed numbers to the one thing that cures it: ladders as tables.

A rung is a pure function of the case; it gives a change with its arithmetic or None when it does
not apply or would pass a floor or a ceiling. The first rung that gives a change wins. Arithmetic
and order follow vLLM's own accounting (gpu_worker.determine_available_memory, vLLM 0.9..0.32).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from agent.core.case import Bound, Case, Change, Hold, Remedy, Retry, StartOver, Wait
from agent.core.failures import FailureClass, Kind, kind_of, what_to_do
from agent.core.settings import Recovery

MAX_CHANGES_PER_CLASS = 6
"""Changes of settings that one class may cause before the service has settled again."""

MARGIN_GIB = 0.3
"""Left free beside what vLLM reserves: contexts and allocator rounding come on top."""

HOST_MARGIN_GIB = 0.5
HOST_MARGIN_SHARE = 0.04
"""The same in host memory, where page cache counts as used and moves by a few percent between two
starts (0.4 of 4 GiB measured with vLLM's CPU build 0.32, 4 to 6 of 121 GiB published for GB10)."""

PREDECESSOR_SECONDS = 60.0
"""A run that started this soon after the last one died may have met its memory still in use."""

SHARED_BELOW = 0.9
"""With less than this share free before a start, somebody else holds a part of the card."""

ROUND_LEN = 256
"""max_model_len is shortened to a multiple of this, above every block size in use."""


Rung = Callable[[Case], Change | None]


def _floor2(value: float) -> float:
    return math.floor(value * 100 + 1e-6) / 100


def _lower_utilization(case: Case, value: float, why: str) -> Change | None:
    value = min(_floor2(value), case.recovery.max_gpu_memory_utilization)
    if value >= case.utilization or value < case.recovery.min_gpu_memory_utilization:
        return None
    return Change("gpu_memory_utilization", value, f"{why}: {case.utilization:g} -> {value:g}")


def _raise_utilization(case: Case, value: float, why: str) -> Change | None:
    ceiling = case.recovery.max_gpu_memory_utilization
    value = min(math.ceil(value * 100 - 1e-6) / 100, ceiling)
    too_high = case.bounds.get("gpu_memory_utilization", Bound()).too_high
    if too_high is not None and value >= too_high:
        value = _floor2((case.utilization + too_high) / 2)
    if value < case.utilization + 0.01 - 1e-9:
        return None
    return Change("gpu_memory_utilization", value, f"{why}: {case.utilization:g} -> {value:g}")


def _utilization_that_fits(case: Case) -> Change | None:
    free, total = case.numbers.free_gib, case.numbers.total_gib
    if free is None or not total:
        return _one_step_down(case)
    margin = HOST_MARGIN_GIB + HOST_MARGIN_SHARE * total if case.host_memory else MARGIN_GIB
    why = f"{free:g} of {total:g} GiB are free, ({free:g} - {margin:.2g}) / {total:g}"
    return _lower_utilization(case, (free - margin) / total, why)


def _one_step_down(case: Case) -> Change | None:
    step = case.recovery.gpu_memory_utilization_step
    return _lower_utilization(case, case.utilization - step, f"one step of {step:g} down")


def _down_by_what_was_tried(case: Case) -> Change | None:
    tried, total = case.numbers.tried_gib, case.numbers.total_gib
    if tried is None or not total:
        return _one_step_down(case)
    why = f"{tried:g} GiB more were needed of {total:g} GiB, and 0.02 to spare"
    return _lower_utilization(case, case.utilization - tried / total - 0.02, why)


def _raise_for_any_kv(case: Case) -> Change | None:
    short = abs(min(case.numbers.available_kv_gib or 0.0, 0.0))
    wanted = short + (case.numbers.needed_kv_gib or 0.0) + 0.5
    if case.numbers.total_gib:
        why = f"{wanted:.2f} GiB more for the KV cache of {case.numbers.total_gib:g} GiB"
        return _raise_utilization(case, case.utilization + wanted / case.numbers.total_gib, why)
    ceiling = case.recovery.max_gpu_memory_utilization
    return _raise_utilization(case, ceiling, "no memory is left for the KV cache, to the ceiling")


def _raise_for_one_request(case: Case) -> Change | None:
    needed, available = case.numbers.needed_kv_gib, case.numbers.available_kv_gib
    ceiling = case.recovery.max_gpu_memory_utilization
    if needed is None or available is None or not case.numbers.total_gib:
        return None
    value = case.utilization + (needed - available) / case.numbers.total_gib
    if value > ceiling:
        return None
    why = f"one request needs {needed:g} GiB of KV cache, {available:g} GiB are available"
    return _raise_utilization(case, value, why)


def _shorten_to_estimate(case: Case) -> Change | None:
    estimate = case.numbers.estimated_max_model_len
    if estimate is None:
        return None
    value = int(estimate) // ROUND_LEN * ROUND_LEN
    current = case.running.max_model_len or case.numbers.max_model_len
    if value < case.recovery.min_max_model_len or (current is not None and value >= current):
        return None
    why = f"vLLM estimates {int(estimate)} tokens as the longest request that fits"
    return Change("max_model_len", value, f"{why}: {current or 'default'} -> {value}")


def _seqs_to_bound(case: Case) -> Change | None:
    bound = case.numbers.mamba_blocks
    if bound is None or bound < 1:
        return None
    value = int(bound)
    if value == case.running.max_num_seqs:
        return None
    return Change("max_num_seqs", value, f"vLLM names {value} as the most that fit")


def _halve(setting: str, default: int, floor: Callable[[Recovery], int]) -> Rung:
    def rung(case: Case) -> Change | None:
        current = getattr(case.running, setting) or default
        value = max(current // 2, floor(case.recovery))
        if value >= current:
            return None
        return Change(setting, value, f"half of the start-up peak's driver: {current} -> {value}")

    return rung


_fewer_batched_tokens = _halve(
    "max_num_batched_tokens", 8192, lambda recovery: recovery.min_max_num_batched_tokens
)
_fewer_seqs = _halve("max_num_seqs", 256, lambda recovery: recovery.min_max_num_seqs)


def _no_graphs(case: Case) -> Change | None:
    if case.running.enforce_eager or not case.recovery.allow_enforce_eager:
        return None
    return Change("enforce_eager", True, "CUDA graphs do not fit: run without them")


F = FailureClass
LADDERS: Mapping[FailureClass, tuple[Rung, ...]] = {
    F.OOM_FREE_MEM_STARTUP: (_utilization_that_fits,),
    F.OOM_KV_NONE: (_raise_for_any_kv, _fewer_batched_tokens, _fewer_seqs),
    F.OOM_KV_TOO_SMALL_FOR_MAXLEN: (_raise_for_one_request, _shorten_to_estimate),
    F.MAMBA_BLOCKS_TOO_FEW: (_seqs_to_bound,),
    F.OOM_PROFILE: (_fewer_batched_tokens, _fewer_seqs, _one_step_down),
    F.OOM_SAMPLER_WARMUP: (_fewer_seqs, _one_step_down),
    F.OOM_GRAPH_CAPTURE: (_down_by_what_was_tried, _one_step_down, _no_graphs),
    F.OOM_RUNTIME: (_one_step_down,),
}
"""What is changed for a class, in order. A new remedy order is a row here."""

TOO_HIGH = frozenset(
    {F.OOM_FREE_MEM_STARTUP, F.OOM_GRAPH_CAPTURE, F.OOM_SAMPLER_WARMUP, F.OOM_RUNTIME}
)
"""Classes that prove the utilization of the failed run too high."""

TOO_LOW = frozenset({F.OOM_KV_NONE, F.OOM_KV_TOO_SMALL_FOR_MAXLEN})
"""Classes that prove the utilization of the failed run too low."""

RETRY_WHEN_SPENT = frozenset({F.OOM_FREE_MEM_STARTUP, F.OOM_RUNTIME})
"""At the end of their ladder these are tried again, not held: the other holder of the memory may
leave, and a service that ran out of memory while serving did serve."""


def propose(case: Case) -> Remedy:
    """Return what cures the failure, within the limits of `case.recovery`."""
    ladder = LADDERS.get(case.failure)
    if ladder is None:
        return _without_ladder(case)
    if _met_our_own_predecessor(case):
        return Wait(15.0, "our own previous run had just ended: wait for its memory to be released")
    if case.spent < MAX_CHANGES_PER_CLASS:
        for rung in ladder:
            change = rung(case)
            if change is not None:
                return change
    if case.failure in TOO_LOW and case.bounds.get("gpu_memory_utilization", Bound()).shared:
        return StartOver("what is too little now was enough before others took a part of the card")
    if case.failure in RETRY_WHEN_SPENT:
        return Retry("no change within the limits helps, but the memory may come free")
    return Hold("every change within the limits was tried", what_to_do(case.failure))


def _met_our_own_predecessor(case: Case) -> bool:
    return (
        case.failure is F.OOM_FREE_MEM_STARTUP
        and case.spent == 0
        and case.gap_seconds is not None
        and case.gap_seconds < PREDECESSOR_SECONDS
    )


def _without_ladder(case: Case) -> Remedy:
    match kind_of(case.failure):
        case Kind.TRANSIENT:
            return Retry("a new start may cure it")
        case Kind.PERMANENT | Kind.HUMAN:
            return Hold("no start with these settings can succeed", what_to_do(case.failure))


def bounds_after(case: Case) -> Mapping[str, Bound]:
    """Return the memory of what failed, with this failure added; it keeps raises from swinging."""
    name = "gpu_memory_utilization"
    old = case.bounds.get(name, Bound())
    used = case.utilization
    if case.failure in TOO_HIGH:
        lowest = used if old.too_high is None else min(old.too_high, used)
        return {**case.bounds, name: Bound(lowest, old.too_low, old.shared or _is_shared(case))}
    if case.failure in TOO_LOW:
        highest = used if old.too_low is None else max(old.too_low, used)
        return {**case.bounds, name: Bound(old.too_high, highest, old.shared)}
    return case.bounds


def _is_shared(case: Case) -> bool:
    free, total = case.numbers.free_gib, case.numbers.total_gib
    return free is not None and bool(total) and free < SHARED_BELOW * (total or 0.0)
