# SPDX-License-Identifier: Apache-2.0
"""What is changed for each class, in order: the tables of recovery.

A rung is a pure function of the case; it gives a change with its arithmetic, or None where it does
not apply or would pass a floor or a ceiling. The n-th change of a class comes from the n-th rung or
a later one, so that each rung is reached and a ladder's length bounds what it may change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agent.core.failures.classes import FailureClass
from agent.core.remedy import kv_bytes, peaks, utilization
from agent.core.remedy.case import Case, Change

Rung = Callable[[Case], Change | None]


def _kv_bytes_or(fixed: Rung, share: Rung) -> Rung:
    """Choose by which setting sizes the KV cache."""

    def rung(case: Case) -> Change | None:
        return fixed(case) if case.running.kv_cache_memory_bytes is not None else share(case)

    return rung


def _where_bounds_meet(graphs: Rung) -> Rung:
    """Where more memory was too much, make what comes on top of it smaller."""

    def rung(case: Case) -> Change | None:
        bound = case.bound(utilization.NAME)
        refused = bound.shared and bound.fits is None  # too high for what was free, not for graphs
        return None if bound.too_high is None or refused else graphs(case)

    return rung


_smaller_graphs = _where_bounds_meet(peaks.smaller_graphs)
_no_graphs = _where_bounds_meet(peaks.no_graphs)
_down = _kv_bytes_or(kv_bytes.lower_by_what_was_missing, utilization.down_by_what_was_missing)
_step = _kv_bytes_or(kv_bytes.lower_by_what_was_missing, utilization.one_step_down)
_up_for_any = _kv_bytes_or(kv_bytes.raise_for_one_request, utilization.raise_for_any_kv)
_up_for_one = _kv_bytes_or(kv_bytes.raise_for_one_request, utilization.raise_for_one_request)
_up_to_the_ceiling = _kv_bytes_or(kv_bytes.raise_for_one_request, utilization.raise_to_the_ceiling)

F = FailureClass
LADDERS: Mapping[FailureClass, tuple[Rung, ...]] = {
    F.OOM_FREE_MEM_STARTUP: (utilization.lower_to_what_is_free,) * 6,
    F.OOM_KV_NONE: (
        *(_up_for_any, _up_for_any, _up_for_any),
        *(_smaller_graphs, _smaller_graphs),
        *(peaks.half_the_batch, peaks.half_the_batch),
        *(peaks.half_the_seqs, peaks.half_the_seqs),
        _no_graphs,
    ),
    F.OOM_KV_TOO_SMALL_FOR_MAXLEN: (
        *(_up_for_one, _up_for_one, _up_for_one),
        *(_smaller_graphs, _smaller_graphs),
        *(peaks.shorten_to_what_fits, peaks.shorten_to_what_fits),
        *(_up_to_the_ceiling, _up_to_the_ceiling),
        _no_graphs,
    ),
    F.MAMBA_BLOCKS_TOO_FEW: (
        *(peaks.seqs_to_bound, peaks.seqs_to_bound),
        *(peaks.half_the_seqs, peaks.half_the_seqs),
    ),
    F.OOM_PROFILE: (
        *(peaks.half_the_batch, peaks.half_the_batch),
        *(peaks.half_the_seqs, peaks.half_the_seqs),
        utilization.one_step_down,
    ),
    F.OOM_SAMPLER_WARMUP: (
        *(peaks.a_quarter_of_the_seqs, peaks.a_quarter_of_the_seqs),
        *(_down, _step, _step),
        peaks.shorten_where_bounds_meet,
    ),
    F.OOM_GRAPH_CAPTURE: (
        *(_down, _down, _step),
        *(peaks.smaller_graphs, peaks.smaller_graphs),
        peaks.no_graphs,
        peaks.shorten_where_bounds_meet,
    ),
    F.OOM_RUNTIME: (
        *(_step, _step, _step),
        *(peaks.half_the_batch, peaks.half_the_batch),
        *(_step, _step),
        peaks.shorten_where_bounds_meet,
    ),
    F.CUDA_ILLEGAL_MEMORY_ACCESS: (peaks.no_graphs_when_repeated,),
    F.CUDA_LAUNCH_FAILURE: (peaks.no_graphs_when_repeated,),
}
"""A new remedy order is a row here. Classes without a row need no change, or none helps."""

TOO_HIGH = frozenset({F.OOM_GRAPH_CAPTURE, F.OOM_SAMPLER_WARMUP, F.OOM_RUNTIME})
"""Classes that prove the KV cache's memory of the failed run too high."""

TOO_LOW = frozenset({F.OOM_KV_NONE, F.OOM_KV_TOO_SMALL_FOR_MAXLEN})
"""Classes that prove it too low."""

NOT_ENOUGH = TOO_LOW | {F.OOM_WEIGHTS_LOAD, F.OOM_PROFILE}
"""Classes that a part of the card in other hands brings about: what is left is too little."""

RETRY_WHEN_SPENT = frozenset({F.OOM_FREE_MEM_STARTUP, F.OOM_RUNTIME})
"""At the end of their ladder these are tried again, not held: the other holder of the memory may
leave, and a service that ran out of memory while serving did serve."""
