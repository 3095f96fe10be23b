# SPDX-License-Identifier: Apache-2.0
"""From a failure and its printed numbers to the one thing that cures it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from agent.core.diagnosis.concluding.allocations import A_GOOD_PART
from agent.core.failures.classes import FailureClass, Group, Kind
from agent.core.failures.meaning import TABLE, AtLast, advice_for_class, group_of, kind_of
from agent.core.remedy import kv_bytes, utilization
from agent.core.remedy.case import (
    NO_BOUND,
    Bound,
    Case,
    Change,
    Hold,
    Refetch,
    Remedy,
    Retry,
    StartOver,
    Wait,
)
from agent.core.remedy.kernels import next_switch
from agent.core.remedy.ladders import LADDERS, NOT_ENOUGH, TOO_HIGH, TOO_LOW

PREDECESSOR_SECONDS = 60.0
"""A run that started this soon after the last one died may have met its memory still in use."""

KV_SHARE_OF_BEFORE = 0.8
"""With less than this of what the same settings left for the KV cache when they last proved good,
somebody else took memory during the start (published for 0.15.1: 1.87, 8 s later 11.3 GiB)."""

SECONDS_TO_SETTLE = 15.0

F = FailureClass
NEVER_HELD = frozenset(
    name for name, row in TABLE.items() if row.at_last is AtLast.TRY_UNTIL_IT_WORKS
)
CAN_BE_DETERMINISTIC = frozenset({Group.UNKNOWN, Group.ENGINE, Group.BUILD, Group.CUDA})
"""Groups in which the same exception from the same place of a second start is no accident."""


def propose(case: Case) -> Remedy:
    """Return what cures the failure, within the limits of `case.recovery`."""
    if _met_our_own_predecessor(case):
        why = "our own previous run had just ended: wait for its memory to be released"
        return Wait(SECONDS_TO_SETTLE, why)
    if _had_more_before(case):
        why = (
            f"{case.numbers.available_kv_gib:g} GiB were left for the KV cache, "
            f"{case.kv_gib_before:g} with these settings before: wait for the card to be quiet"
        )
        return Wait(SECONDS_TO_SETTLE, why)
    switch = next_switch(case)
    if switch is not None:
        return switch
    ladder = () if case.beyond_settings else LADDERS.get(case.failure, ())
    for rung in ladder[case.spent :]:
        change = rung(case)
        if change is not None:
            return _with_what_else_helps(case, change)
    return _without_change(case)


def _with_what_else_helps(case: Case, change: Change) -> Change:
    """Add what a person can do about a peak that one step of the setting does not cover."""
    if case.failure is not F.OOM_RUNTIME or not case.advice:
        return change
    return replace(change, why=f"{change.why}. {case.advice}")


def _met_our_own_predecessor(case: Case) -> bool:
    return (
        case.failure is F.OOM_FREE_MEM_STARTUP
        and case.spent == 0
        and case.gap_seconds is not None
        and case.gap_seconds < PREDECESSOR_SECONDS
    )


def _had_more_before(case: Case) -> bool:
    available, before = case.numbers.available_kv_gib, case.kv_gib_before
    return (
        case.failure in TOO_LOW
        and case.spent == 0
        and available is not None
        and before is not None
        and available < KV_SHARE_OF_BEFORE * before
    )


def _without_change(case: Case) -> Remedy:
    failure = case.failure
    limit = utilization.sum_of_neighbours(case) if failure in TOO_LOW else ""
    if limit:
        do = "Lower theirs in agent.toml, ask for less here, or give the services different gpus."
        return Hold(f"{case.utilization:g} of the card is too little, and {limit}", do)
    if failure in NOT_ENOUGH and case.bound(utilization.NAME).shared:
        return StartOver("what is too little now was enough before others took a part of the card")
    if failure is F.OOM_WEIGHTS_LOAD and _somebody_else_is_there(case):
        return Retry(f"another process holds {case.numbers.neighbour_gib:g} GiB and may leave")
    row = TABLE[failure]
    if case.again and row.group in CAN_BE_DETERMINISTIC and not row.hangs_on_others:
        why = f"the same at the same place of a start as before ({case.place})"
        return Hold(why, _advice(case))
    if case.guessed and row.group in CAN_BE_DETERMINISTIC:
        return Retry(f"what is at fault is not known, and it may pass once. {_advice(case)}")
    match row.at_last:
        case AtLast.MEMORY_MAY_COME_FREE:
            told = f". {case.advice}" if case.advice else _unused(case)
            return Retry(f"no change within the limits helps, but the memory may come free{told}")
        case AtLast.FETCH_AGAIN if not case.beyond_settings:
            return _fetch_once(case)
        case AtLast.TRY_UNTIL_IT_WORKS:
            why = f"it is tried until it works. {_advice(case)}"
            return Retry(why, row.retry_after_seconds)
        case AtLast.SERVE_ON if case.served:
            why = "it served until it met this, and may until it meets it again"
            return Retry(f"{why}. {_advice(case)}")
        case AtLast.FETCH_AGAIN | AtLast.SERVE_ON | None:
            return _as_its_kind_asks(case)


def _as_its_kind_asks(case: Case) -> Remedy:
    failure = case.failure
    match kind_of(failure):
        case Kind.TRANSIENT:
            return Retry(_why_again(case))
        case Kind.PERMANENT | Kind.HUMAN if case.guessed:
            return Hold("what would cure it depends on where it failed", _advice(case))
        case Kind.PERMANENT | Kind.HUMAN if case.beyond_settings:
            return Hold("no setting that recovery may change helps", _advice(case))
        case Kind.PERMANENT | Kind.HUMAN if failure in LADDERS and _has_a_remedy(case):
            return Hold("every change within the limits was tried", _advice(case))
        case Kind.PERMANENT | Kind.HUMAN:
            return Hold("no start with these settings can succeed", _advice(case))


def _has_a_remedy(case: Case) -> bool:
    """Tell whether a ladder was climbed: a refused value has a rung only where a number says so."""
    return bool(case.spent) or group_of(case.failure) is not Group.CONFIGURATION


def _advice(case: Case) -> str:
    """Return what a person must do: as the log tells it, else what the class says."""
    return case.advice or advice_for_class(case.failure)


def _fetch_once(case: Case) -> Remedy:
    if case.running.model.startswith("/"):
        return Hold("the model is a local directory, which is not ours", _advice(case))
    if case.spent:
        return Hold("it was fetched again and is broken still", _advice(case))
    return Refetch("fetch what is broken or missing of the model again")


def _somebody_else_is_there(case: Case) -> bool:
    theirs, total = case.numbers.neighbour_gib, case.numbers.total_gib
    return theirs is not None and bool(total) and theirs >= A_GOOD_PART * (total or 0.0)


def _why_again(case: Case) -> str:
    if case.repeats > 1 and group_of(case.failure) in (Group.CUDA, Group.ENGINE):
        return f"{case.repeats} times within the hour. {_advice(case)}"
    return "a new start may cure it"


def _unused(case: Case) -> str:
    """Return what the operator may try where memory is reserved and not used."""
    unused, tried = case.numbers.reserved_gib, case.numbers.tried_gib
    if unused is None or tried is None or unused < tried:
        return ""
    return (
        f"; {unused:g} GiB are reserved but not allocated: "
        'environment = { PYTORCH_CUDA_ALLOC_CONF = "expandable_segments:True" } may help'
    )


def bounds_after(case: Case) -> Mapping[str, Bound]:
    """Return the memory of what failed, with this failure added; it keeps raises from swinging."""
    if case.failure is F.OOM_FREE_MEM_STARTUP:
        return _with_bound(case, utilization.NAME, _refused(case))
    name, used = _sized_by(case)
    old = case.bound(name)
    if case.failure in TOO_HIGH:
        lowest = used if old.too_high is None else min(old.too_high, used)
        return _with_bound(case, name, replace(old, too_high=lowest))
    # Weights that do not fit beside a stranger did not get enough of the card either.
    if case.failure in TOO_LOW or (case.failure in NOT_ENOUGH and old.shared):
        highest = used if old.too_low is None else max(old.too_low, used)
        return _with_bound(case, name, replace(old, too_low=highest))
    return case.bounds


def bounds_with(bounds: Mapping[str, Bound], change: Change) -> Mapping[str, Bound]:
    """Return what is still known once `change` is made: other peaks make old failures worthless."""
    if change.setting in (utilization.NAME, kv_bytes.NAME):
        return bounds
    old = bounds.get(utilization.NAME, NO_BOUND)
    return {utilization.NAME: Bound(shared=old.shared, fits=old.fits)}


def bounds_after_start_over(bounds: Mapping[str, Bound]) -> Mapping[str, Bound]:
    """Return what stays true however much is free: what was too low with less asked."""
    old = bounds.get(utilization.NAME, NO_BOUND)
    return {utilization.NAME: Bound(too_low=old.too_low)}


def _sized_by(case: Case) -> tuple[str, float]:
    """Return the setting that sizes the KV cache, and its value in the failed run."""
    fixed = case.running.kv_cache_memory_bytes
    return (utilization.NAME, case.utilization) if fixed is None else (kv_bytes.NAME, float(fixed))


def _refused(case: Case) -> Bound:
    old, fits = case.bound(utilization.NAME), utilization.share_that_fits(case)
    if fits is None:
        lowest = case.utilization if old.too_high is None else min(old.too_high, case.utilization)
        return replace(old, too_high=lowest, shared=old.shared or utilization.is_shared(case))
    return replace(old, fits=fits, shared=utilization.is_shared(case))


def _with_bound(case: Case, name: str, bound: Bound) -> Mapping[str, Bound]:
    return {**case.bounds, name: bound}
