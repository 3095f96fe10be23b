# SPDX-License-Identifier: Apache-2.0
"""Remedies: opposite cures for look-alike messages, arithmetic, floors and ceilings."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.diagnosis.numbers import Numbers
from agent.core.engine.defaults import default_utilization
from agent.core.failures.classes import FailureClass, Kind
from agent.core.failures.meaning import kind_of
from agent.core.remedy.case import (
    Bound,
    Case,
    Change,
    Hold,
    Remedy,
    Retry,
    StartOver,
    Wait,
)
from agent.core.remedy.ladders import LADDERS
from agent.core.remedy.propose import bounds_after, propose
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import TUNABLES, Settings

F = FailureClass


def remedy(
    failure: FailureClass,
    numbers: Numbers | None = None,
    bound: Bound | None = None,
    spent: int = 0,
    gap_seconds: float | None = None,
    **settings: Any,
) -> Remedy:
    running = Settings("vllm", "/srv/m", **settings)
    bounds = {"gpu_memory_utilization": bound} if bound else {}
    numbers = numbers or Numbers()
    return propose(
        Case(failure, numbers, running, bounds=bounds, spent=spent, gap_seconds=gap_seconds)
    )


def change(failure: FailureClass, numbers: Numbers | None = None, **settings: Any) -> Change:
    found = remedy(failure, numbers, **settings)
    assert isinstance(found, Change), found
    return found


def test_less_free_than_wanted_lowers_but_no_cache_blocks_raises() -> None:
    less = change(
        F.OOM_FREE_MEM_STARTUP,
        Numbers(free_gib=20.3, total_gib=24.0, utilization=0.9),
        gpu_memory_utilization=0.9,
    )
    more = change(
        F.OOM_KV_NONE,
        Numbers(available_kv_gib=-1.0, total_gib=24.0),
        gpu_memory_utilization=0.8,
    )
    assert less.value == 0.83  # (20.3 - 0.3) / 24, rounded down
    assert more.value == 0.87  # 0.8 + (1 + 0.5) / 24, rounded up
    assert "20.3 of 24" in less.why


def test_in_host_memory_more_is_left_free_as_page_cache_counts_as_used() -> None:
    numbers = Numbers(free_gib=4.35, total_gib=6.0, utilization=0.95)
    running = Settings("vllm", "/srv/m", gpu_memory_utilization=0.95)
    found = propose(Case(F.OOM_FREE_MEM_STARTUP, numbers, running, host_memory=True))
    assert isinstance(found, Change)
    assert found.value == 0.6  # (4.35 - 0.5 - 0.04 * 6) / 6


def test_too_little_for_one_request_raises_if_that_is_enough_else_shortens() -> None:
    numbers = Numbers(
        needed_kv_gib=4.0,
        available_kv_gib=3.0,
        estimated_max_model_len=24100,
        max_model_len=32768,
        total_gib=24.0,
    )
    raised = change(F.OOM_KV_TOO_SMALL_FOR_MAXLEN, numbers, gpu_memory_utilization=0.85)
    assert (raised.setting, raised.value) == ("gpu_memory_utilization", 0.9)
    shortened = change(F.OOM_KV_TOO_SMALL_FOR_MAXLEN, numbers, gpu_memory_utilization=0.95)
    assert (shortened.setting, shortened.value) == ("max_model_len", 24064)  # 94 * 256


def test_graph_capture_lowers_the_utilization_and_gives_up_graphs_last() -> None:
    numbers = Numbers(tried_gib=0.5, total_gib=24.0)
    first = change(F.OOM_GRAPH_CAPTURE, numbers, gpu_memory_utilization=0.95)
    assert first.setting == "gpu_memory_utilization"
    assert first.value == 0.90
    last = change(F.OOM_GRAPH_CAPTURE, numbers, gpu_memory_utilization=0.5)
    assert (last.setting, last.value) == ("enforce_eager", True)


def test_of_a_big_allocation_only_what_was_missing_is_given_up() -> None:
    """20 of 80 GiB for the KV cache, of which 18 were free: 2 were missing."""
    numbers = Numbers(tried_gib=20.0, free_gib=18.0, total_gib=80.0)
    found = change(F.OOM_GRAPH_CAPTURE, numbers, gpu_memory_utilization=0.92)
    assert (found.setting, found.value) == ("gpu_memory_utilization", 0.87)  # 0.92 - 2 / 80 - 0.02
    small = Numbers(tried_gib=2.0, free_gib=1.9, total_gib=80.0)
    whole = change(F.OOM_GRAPH_CAPTURE, small, gpu_memory_utilization=0.92)
    assert whole.value == 0.87  # 0.92 - 2 / 80 - 0.02: the next one needs as much


def test_the_sampler_warm_up_needs_fewer_sequences() -> None:
    found = change(F.OOM_SAMPLER_WARMUP, max_num_seqs=256)
    assert (found.setting, found.value) == ("max_num_seqs", 64)


def test_hybrid_models_get_the_bound_that_vllm_prints() -> None:
    found = change(F.MAMBA_BLOCKS_TOO_FEW, Numbers(mamba_blocks=969), max_num_seqs=1024)
    assert (found.setting, found.value) == ("max_num_seqs", 969)


def test_running_out_of_memory_while_serving_lowers_one_step() -> None:
    found = change(F.OOM_RUNTIME, gpu_memory_utilization=0.92)
    assert (found.setting, found.value) == ("gpu_memory_utilization", 0.9)


def test_our_own_dead_predecessor_is_waited_for_once() -> None:
    numbers = Numbers(free_gib=12.0, total_gib=24.0, utilization=0.9)
    assert isinstance(remedy(F.OOM_FREE_MEM_STARTUP, numbers, gap_seconds=3.0), Wait)
    assert isinstance(
        remedy(F.OOM_FREE_MEM_STARTUP, numbers, gap_seconds=3.0, spent=1), Retry | Change
    )
    assert isinstance(
        remedy(F.OOM_FREE_MEM_STARTUP, Numbers(free_gib=20, total_gib=24), gap_seconds=900.0),
        Change,
    )


def test_a_raise_never_reaches_what_has_failed_as_too_high() -> None:
    numbers = Numbers(available_kv_gib=-3.0, total_gib=24.0)
    bound = Bound(too_high=0.9)
    found = remedy(F.OOM_KV_NONE, numbers, bound, gpu_memory_utilization=0.8)
    assert isinstance(found, Change)
    assert found.value == 0.85  # half way


def test_what_a_neighbour_took_is_no_reason_to_hold() -> None:
    bound = Bound(too_high=0.82, shared=True)
    found = remedy(
        F.OOM_KV_NONE,
        bound=bound,
        gpu_memory_utilization=0.81,
        max_num_seqs=8,
        max_num_batched_tokens=2048,
    )
    assert isinstance(found, StartOver)


def test_weights_that_a_neighbour_left_no_room_for_are_no_reason_to_hold() -> None:
    squeezed = Bound(too_high=0.92, shared=True)
    assert isinstance(remedy(F.OOM_WEIGHTS_LOAD, Numbers(total_gib=24.0), squeezed), StartOver)
    assert isinstance(remedy(F.OOM_WEIGHTS_LOAD, Numbers(total_gib=24.0)), Hold)


def test_a_raise_that_cannot_hold_one_request_is_not_tried_and_the_request_is_shortened() -> None:
    numbers = Numbers(
        needed_kv_gib=12.28, available_kv_gib=10.38, estimated_max_model_len=85_000, total_gib=24.0
    )
    asked: dict[str, Any] = {"gpu_memory_utilization": 0.87, "max_model_len": 100_608}
    raised = remedy(F.OOM_KV_TOO_SMALL_FOR_MAXLEN, numbers, **asked)
    assert isinstance(raised, Change)
    assert (raised.setting, raised.value) == ("gpu_memory_utilization", 0.95)
    shortened = remedy(F.OOM_KV_TOO_SMALL_FOR_MAXLEN, numbers, Bound(too_high=0.95), **asked)
    assert isinstance(shortened, Change)
    assert shortened.setting == "max_model_len"


def test_a_request_that_cannot_be_shortened_to_fit_gets_what_memory_there_is() -> None:
    numbers = Numbers(
        needed_kv_gib=0.5, available_kv_gib=0.05, estimated_max_model_len=400, total_gib=24.0
    )
    bound = Bound(too_high=0.96, too_low=0.93)
    asked: dict[str, Any] = {"gpu_memory_utilization": 0.94, "max_model_len": 4096}
    raised = remedy(F.OOM_KV_TOO_SMALL_FOR_MAXLEN, numbers, bound, **asked)
    assert isinstance(raised, Change)
    assert (raised.setting, raised.value) == ("gpu_memory_utilization", 0.95)
    spent: dict[str, Any] = {
        "gpu_memory_utilization": 0.95,
        "max_model_len": 4096,
        "enforce_eager": True,
    }
    assert isinstance(remedy(F.OOM_KV_TOO_SMALL_FOR_MAXLEN, numbers, bound, **spent), Hold)


@pytest.mark.parametrize(
    ("version", "expected"),
    [("0.6.3", 0.9), ("0.19.1", 0.9), ("0.20.2", 0.92), ("0.32.0", 0.92), (None, 0.92)],
)
def test_vllms_own_default_depends_on_its_version(version: str | None, expected: float) -> None:
    assert default_utilization(version) == expected


numbers_strategy = st.builds(
    Numbers,
    free_gib=st.none() | st.floats(0, 200),
    total_gib=st.none() | st.floats(0.1, 200),
    utilization=st.none() | st.floats(0.01, 1.0),
    needed_kv_gib=st.none() | st.floats(0, 500),
    available_kv_gib=st.none() | st.floats(-100, 200),
    estimated_max_model_len=st.none() | st.integers(0, 10_000_000),
    max_model_len=st.none() | st.integers(1, 10_000_000),
    mamba_blocks=st.none() | st.integers(0, 5000),
    tried_gib=st.none() | st.floats(0, 200),
)
cases = st.builds(
    Case,
    failure=st.sampled_from(sorted(FailureClass)),
    numbers=numbers_strategy,
    running=st.builds(
        Settings,
        name=st.just("vllm"),
        model=st.just("/srv/m"),
        gpu_memory_utilization=st.none() | st.floats(0.5, 0.97),
        max_model_len=st.none() | st.integers(2048, 1_000_000),
        max_num_seqs=st.none() | st.integers(8, 2048),
        max_num_batched_tokens=st.none() | st.integers(2048, 65536),
        enforce_eager=st.none() | st.booleans(),
    ),
    bounds=st.builds(
        lambda high, low, shared: {"gpu_memory_utilization": Bound(high, low, shared)},
        st.none() | st.floats(0.5, 1.0),
        st.none() | st.floats(0.5, 1.0),
        st.booleans(),
    ),
    spent=st.integers(0, 8),
    gap_seconds=st.none() | st.floats(0, 1000),
)


@given(cases)
def test_no_change_ever_passes_a_floor_a_ceiling_or_the_budget(case: Case) -> None:
    found = propose(case)
    if not isinstance(found, Change):
        return
    limits = Recovery()
    assert case.spent < len(LADDERS[case.failure])
    assert found.setting in TUNABLES
    if found.setting == "gpu_memory_utilization":
        assert limits.min_gpu_memory_utilization <= found.value
        assert found.value <= limits.max_gpu_memory_utilization
    if found.setting == "max_model_len":
        assert found.value >= limits.min_max_model_len
    assert found.value != getattr(case.running, found.setting)


@given(cases)
def test_only_classes_that_nothing_else_cures_are_held(case: Case) -> None:
    if isinstance(propose(case), Hold):
        assert kind_of(case.failure) is not Kind.TRANSIENT


@given(cases)
def test_raising_after_lowering_always_ends(case: Case) -> None:
    """A raise stays below every value that failed as too high, so the pair cannot swing."""
    found = propose(case)
    bound = case.bounds["gpu_memory_utilization"]
    raises = isinstance(found, Change) and found.setting == "gpu_memory_utilization"
    if raises and isinstance(found, Change) and found.value > case.utilization:
        assert bound.too_high is None or found.value < bound.too_high
    after = bounds_after(case)["gpu_memory_utilization"]
    assert bound.too_high is None or (after.too_high or 0) <= bound.too_high
