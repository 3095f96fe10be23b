# SPDX-License-Identifier: Apache-2.0
"""What is changed for each class, in order.

The order is the column `ladder` of agent/failures/classes.toml; here rungs get their names.

A rung is a pure function of the case; it gives a change with its arithmetic, or None where it does
not apply or would pass a floor or a ceiling. The n-th change of a class comes from the n-th rung or
a later one, so that each rung is reached and a ladder's length bounds what it may change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from agent.core.failures.classes import FailureClass
from agent.core.failures.meaning import TABLE, Proof
from agent.core.remedy import kv_bytes, peaks, start_method, utilization
from agent.core.remedy.case import Case, Change

Rung = Callable[[Case], Change | None]


def _kv_bytes_or(fixed: Rung, share: Rung) -> Rung:
    """Choose by which setting sizes the KV cache."""

    def rung(case: Case) -> Change | None:
        return fixed(case) if case.running.kv_cache_memory_bytes is not None else share(case)

    return rung


def _where_bounds_meet(graphs: Rung) -> Rung:
    """If a higher utilization already failed, shrink the CUDA graphs instead."""

    def rung(case: Case) -> Change | None:
        bound = case.bound(utilization.NAME)
        refused = bound.shared and bound.fits is None  # too high for what was free, not for graphs
        return None if bound.too_high is None or refused else graphs(case)

    return rung


def _where_no_share_will_do(smaller: Rung) -> Rung:
    """Say why the peak is made smaller before the share is raised."""

    def rung(case: Case) -> Change | None:
        change, why = smaller(case), utilization.out_of_reach(case)
        return replace(change, why=f"{why}; {change.why}") if change is not None and why else change

    return rung


def _by_the_graphs_or_what_was_missing(case: Case) -> Change | None:
    """Take vLLM's own estimate of the graphs where it prints one: one start instead of several."""
    return utilization.down_by_the_graphs(case) or RUNGS["lower_kv_by_what_was_missing"](case)


RUNGS: Mapping[str, Rung] = {
    "lower_utilization_to_what_is_free": utilization.lower_to_what_is_free,
    "lower_utilization_by_one_step": utilization.one_step_down,
    "raise_batch_to_the_block": peaks.batch_to_the_block,
    "lower_kv_by_what_was_missing": _kv_bytes_or(
        kv_bytes.lower_by_what_was_missing, utilization.down_by_what_was_missing
    ),
    "lower_utilization_by_the_graphs_or_what_was_missing": _by_the_graphs_or_what_was_missing,
    "lower_kv_by_one_step": _kv_bytes_or(
        kv_bytes.lower_by_what_was_missing, utilization.one_step_down
    ),
    "raise_kv_for_any": _kv_bytes_or(kv_bytes.raise_for_one_request, utilization.raise_for_any_kv),
    "raise_kv_for_one_request": _kv_bytes_or(
        kv_bytes.raise_for_one_request, utilization.raise_for_one_request
    ),
    "raise_kv_to_the_ceiling": _kv_bytes_or(
        kv_bytes.raise_for_one_request, utilization.raise_to_the_ceiling
    ),
    "smaller_graphs": peaks.smaller_graphs,
    "smaller_graphs_where_bounds_meet": _where_bounds_meet(peaks.smaller_graphs),
    "no_graphs": peaks.no_graphs,
    "no_graphs_where_bounds_meet": _where_bounds_meet(peaks.no_graphs),
    "no_graphs_when_repeated": peaks.no_graphs_when_repeated,
    "half_the_batch": peaks.half_the_batch,
    "half_the_batch_for_kv": _where_no_share_will_do(peaks.half_the_batch),
    "half_the_seqs": peaks.half_the_seqs,
    "half_the_seqs_for_kv": _where_no_share_will_do(peaks.half_the_seqs),
    "a_quarter_of_the_seqs": peaks.a_quarter_of_the_seqs,
    "seqs_to_bound": peaks.seqs_to_bound,
    "shorten_to_what_fits": peaks.shorten_to_what_fits,
    "shorten_where_bounds_meet": peaks.shorten_where_bounds_meet,
    "spawn_the_processes": start_method.spawn_the_processes,
}
"""The rungs by the names that agent/failures/classes.toml uses."""

LADDERS: Mapping[FailureClass, tuple[Rung, ...]] = {
    failure: tuple(RUNGS[name] for name in row.ladder)
    for failure, row in TABLE.items()
    if row.ladder
}
"""Classes without a ladder need no change, or none helps."""

TOO_HIGH = frozenset(name for name, row in TABLE.items() if row.proves is Proof.TOO_HIGH)
"""Classes that prove the KV cache's memory of the failed run too high."""

TOO_LOW = frozenset(name for name, row in TABLE.items() if row.proves is Proof.TOO_LOW)
"""Classes that prove it too low."""

NOT_ENOUGH = TOO_LOW | {name for name, row in TABLE.items() if row.proves is Proof.NOT_ENOUGH}
"""Failures that can be caused by other processes holding part of the card."""
