# SPDX-License-Identifier: Apache-2.0
"""The order of remedies, class by class, and opposite remedies for messages that look alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.diagnosis.numbers import Numbers
from agent.core.diagnosis.reader import LogReader
from agent.core.failures.classes import FailureClass, Group, Kind
from agent.core.failures.meaning import group_of, kind_of
from agent.core.remedy.case import Bound, Case, Change, Hold, Refetch, Remedy, Retry, Wait
from agent.core.remedy.ladders import LADDERS
from agent.core.remedy.propose import bounds_after, propose
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import Settings
from agent.host.data.signatures import load_signatures

F = FailureClass
GIB = 1024**3
UTILIZATION = "gpu_memory_utilization"
KV_BYTES = "kv_cache_memory_bytes"


def case(failure: FailureClass, numbers: Numbers | None = None, **settings: Any) -> Case:
    return Case(
        failure, numbers or Numbers(), Settings("vllm", "org/m", **settings), vllm_version="0.32.0"
    )


def changes(begin: Case) -> list[tuple[str, Any]]:
    """The changes that one class makes in a row, each on top of those before."""
    made = []
    while isinstance(found := propose(begin), Change):
        made.append((found.setting, found.value))
        running = begin.running.with_overrides({found.setting: found.value})
        begin = Case(
            **{name: getattr(begin, name) for name in ("failure", "numbers", "vllm_version")},
            running=running,
            spent=begin.spent + 1,
        )
    return made


def change(of: Case) -> Change:
    found = propose(of)
    assert isinstance(found, Change), found
    return found


# --- messages that look alike ---


def test_not_enough_free_lowers_and_no_cache_blocks_raises() -> None:
    """Both speak of memory that does not suffice, with gpu_memory_utilization in the sentence."""
    refused = case(
        F.OOM_FREE_MEM_STARTUP, Numbers(free_gib=20.0, total_gib=24.0), **{UTILIZATION: 0.9}
    )
    asked: dict[str, Any] = {UTILIZATION: 0.9}
    none = case(F.OOM_KV_NONE, Numbers(available_kv_gib=-1.0, total_gib=24.0), **asked)
    assert change(refused).value == 0.82
    assert change(none).value == 0.97


def test_a_raise_that_is_sure_to_fail_costs_no_start() -> None:
    """2.31 GiB are missing, and all of the card up to 0.97 gives 1.18: a smaller peak comes first.

    What is missing then is printed again, and the raise is by that number.
    """
    asked: dict[str, Any] = {UTILIZATION: 0.92, "max_num_batched_tokens": 8192, "max_num_seqs": 64}
    first = change(case(F.OOM_KV_NONE, Numbers(available_kv_gib=-2.31, total_gib=23.52), **asked))
    assert (first.setting, first.value) == ("max_num_batched_tokens", 4096)
    assert "2.31 GiB are missing, and 0.97 of the card gives 1.18 GiB" in first.why
    asked["max_num_batched_tokens"] = 4096
    numbers = Numbers(available_kv_gib=-0.4, total_gib=23.52)
    second = change(replace(case(F.OOM_KV_NONE, numbers, **asked), spent=1))
    assert (second.setting, second.value) == (UTILIZATION, 0.96)


def test_what_no_share_and_no_peak_can_give_is_held_at_once() -> None:
    numbers = Numbers(available_kv_gib=-20.0, total_gib=24.0)
    asked: dict[str, Any] = {UTILIZATION: 0.9, "max_num_batched_tokens": 2048, "max_num_seqs": 1}
    asked["enforce_eager"] = True
    told = propose(case(F.OOM_KV_NONE, numbers, **asked))
    while isinstance(told, Change):
        assert told.setting != UTILIZATION
        asked[told.setting] = told.value
        told = propose(replace(case(F.OOM_KV_NONE, numbers, **asked), spent=1))
    assert isinstance(told, Hold)


def test_out_of_memory_is_another_thing_in_each_phase() -> None:
    """The same words of PyTorch: only the phase tells what helps."""
    numbers = Numbers(tried_gib=0.5, free_gib=0.1, total_gib=24.0)
    asked: dict[str, Any] = {UTILIZATION: 0.9, "max_num_seqs": 256, "max_num_batched_tokens": 8192}
    assert isinstance(propose(case(F.OOM_WEIGHTS_LOAD, numbers, **asked)), Hold)
    assert change(case(F.OOM_PROFILE, numbers, **asked)).setting == "max_num_batched_tokens"
    assert change(case(F.OOM_SAMPLER_WARMUP, numbers, **asked)).setting == "max_num_seqs"
    assert change(case(F.OOM_GRAPH_CAPTURE, numbers, **asked)).value == 0.85
    assert change(case(F.OOM_RUNTIME, numbers, **asked)).value == 0.88


def test_the_cache_is_too_small_raises_but_too_many_sequences_lowers_those() -> None:
    """Hybrid models print the same "larger than the available"."""
    length = case(
        F.OOM_KV_TOO_SMALL_FOR_MAXLEN,
        Numbers(needed_kv_gib=2.0, available_kv_gib=1.0, total_gib=24.0),
        **{UTILIZATION: 0.8},
    )
    blocks = case(F.MAMBA_BLOCKS_TOO_FEW, Numbers(mamba_blocks=100), max_num_seqs=256)
    assert (change(length).setting, change(length).value) == (UTILIZATION, 0.85)
    assert (change(blocks).setting, change(blocks).value) == ("max_num_seqs", 100)


def test_a_neighbour_that_frees_memory_while_it_is_profiled_changes_nothing() -> None:
    assert isinstance(propose(case(F.MEM_PROFILING_RACE)), Retry)


def test_the_hosts_own_memory_is_not_the_cards() -> None:
    assert isinstance(propose(case(F.HOST_OOM_KILLED, gpu_memory_utilization=0.9)), Retry)


# --- ladders, rung by rung ---


def test_graphs_get_less_memory_then_fewer_sizes_and_are_given_up_last() -> None:
    made = changes(case(F.OOM_GRAPH_CAPTURE, Numbers(tried_gib=0.2, total_gib=24.0)))
    assert [setting for setting, _ in made] == [
        *(UTILIZATION, UTILIZATION, UTILIZATION),
        *("max_cudagraph_capture_size", "max_cudagraph_capture_size"),
        "enforce_eager",
    ]
    assert [value for _, value in made[3:]] == [128, 32, True]


@pytest.mark.parametrize(
    ("version", "extra"),
    [("0.10.2", ()), (None, ()), ("0.32.0", ("--compilation-config", '{"level": 3}'))],
)
def test_a_vllm_that_would_refuse_a_capture_size_is_not_given_one(
    version: str | None, extra: tuple[str, ...]
) -> None:
    running = Settings("vllm", "org/m", gpu_memory_utilization=0.5, extra_args=extra)
    found = propose(Case(F.OOM_GRAPH_CAPTURE, Numbers(), running, vllm_version=version))
    assert isinstance(found, Change)
    assert found.setting == "enforce_eager"


def test_graphs_are_kept_where_the_operator_wants_them() -> None:
    running = Settings("vllm", "org/m", gpu_memory_utilization=0.5, max_cudagraph_capture_size=8)
    limits = Recovery(allow_enforce_eager=False)
    assert isinstance(propose(Case(F.OOM_GRAPH_CAPTURE, Numbers(), running, limits)), Hold)


def test_the_sampler_warms_up_with_fewer_sequences_before_it_gets_less_memory() -> None:
    made = changes(case(F.OOM_SAMPLER_WARMUP, Numbers(total_gib=80.0)))
    assert made[:2] == [("max_num_seqs", 256), ("max_num_seqs", 64)]
    assert made[2][0] == UTILIZATION


def test_a_batch_is_halved_only_as_far_as_vllm_accepts_it() -> None:
    """Without chunked prefill a batch holds a whole request; it never holds less than a token
    a sequence (SchedulerConfig, vLLM 0.6..0.32)."""
    whole = case(
        F.OOM_PROFILE,
        max_num_batched_tokens=16384,
        max_model_len=12000,
        enable_chunked_prefill=False,
    )
    assert change(whole).value == 12000
    many = case(F.OOM_PROFILE, max_num_batched_tokens=4096, max_num_seqs=3000)
    assert change(many).value == 3000


def test_a_batch_that_was_not_asked_for_is_halved_from_vllms_own_default() -> None:
    """2048 on cards below 70 GiB, 8192 above (vLLM 0.8..0.32): a "half" must not be more."""
    big = change(case(F.OOM_PROFILE, Numbers(total_gib=80.0)))
    assert (big.setting, big.value) == ("max_num_batched_tokens", 4096)
    small = change(case(F.OOM_PROFILE, Numbers(total_gib=24.0)))
    assert (small.setting, small.value) == ("max_num_seqs", 128)


def test_half_of_a_batch_is_less_than_the_log_says_that_it_is() -> None:
    """An A100 of 80 GB is given the batch of a small card, and the log prints it."""
    reader = LogReader(load_signatures())
    for line in (
        "INFO 11-12 10:00:00 [scheduler.py:231] Chunked prefill is enabled with "
        "max_num_batched_tokens=4096.",
        "(EngineCore pid=9) INFO 11-12 10:00:05 [gpu_model_runner.py:3259] Starting to load model "
        "org/m...",
        "(EngineCore pid=9) ERROR 11-12 10:01:00 [core.py:1510] EngineCore failed to start.",
        "(EngineCore pid=9) ERROR 11-12 10:01:00 [core.py:1510] Traceback (most recent call last):",
        '(EngineCore pid=9) ERROR 11-12 10:01:00 [core.py:1510]   File "/v/vllm/v1/worker/'
        'gpu_model_runner.py", line 5500, in profile_run',
        "(EngineCore pid=9) ERROR 11-12 10:01:00 [core.py:1510] torch.OutOfMemoryError: CUDA out of"
        " memory. Tried to allocate 1.12 GiB. GPU 0 has a total capacity of 79.15 GiB of which 512."
        "00 MiB is free.",
    ):
        reader.feed(line)
    diagnosis = reader.diagnosis()
    assert diagnosis.failure is F.OOM_PROFILE
    running = Settings("vllm", "org/m")
    found = propose(Case(F.OOM_PROFILE, diagnosis.numbers, running, vllm_version="0.32.0"))
    assert isinstance(found, Change)
    assert (found.setting, found.value) == ("max_num_batched_tokens", 2048)


def test_an_a100_is_known_by_its_name_where_the_log_prints_no_batch() -> None:
    """Its batch is the small card's 2048, so that only its sequences can be fewer."""
    begin = Case(
        F.OOM_PROFILE,
        Numbers(total_gib=79.15),
        Settings("vllm", "org/m"),
        vllm_version="0.32.0",
        gpu_name="NVIDIA A100-SXM4-80GB",
    )
    found = change(begin)
    assert (found.setting, found.value) == ("max_num_seqs", 128)


def test_without_an_estimate_the_length_follows_from_what_is_printed() -> None:
    gib = Numbers(needed_kv_gib=4.0, available_kv_gib=3.0, max_model_len=32768, total_gib=24.0)
    by_gib = change(case(F.OOM_KV_TOO_SMALL_FOR_MAXLEN, gib, **{UTILIZATION: 0.97}))
    assert (by_gib.setting, by_gib.value) == ("max_model_len", 24576)
    by_tokens = change(
        case(F.OOM_KV_TOO_SMALL_FOR_MAXLEN, Numbers(kv_tokens=10007, max_model_len=32768))
    )
    assert by_tokens.value == 9984


def test_where_the_bounds_meet_the_request_is_shortened() -> None:
    running = Settings(
        "vllm", "org/m", gpu_memory_utilization=0.88, max_num_seqs=8, max_model_len=16384
    )
    bounds = {UTILIZATION: Bound(too_high=0.88, too_low=0.87)}
    found = propose(Case(F.OOM_SAMPLER_WARMUP, Numbers(), running, bounds=bounds))
    assert isinstance(found, Change)
    assert (found.setting, found.value) == ("max_model_len", 8192)


def test_far_less_memory_than_the_same_settings_left_before_is_waited_for_once() -> None:
    numbers = Numbers(needed_kv_gib=4.0, available_kv_gib=1.87, total_gib=24.0)
    running = Settings("vllm", "org/m", gpu_memory_utilization=0.9)
    first = Case(F.OOM_KV_TOO_SMALL_FOR_MAXLEN, numbers, running, kv_gib_before=11.3)
    assert isinstance(propose(first), Wait)
    again = Case(F.OOM_KV_TOO_SMALL_FOR_MAXLEN, numbers, running, kv_gib_before=11.3, spent=1)
    assert not isinstance(propose(again), Wait)


# --- kv_cache_memory_bytes ---


def kv_case(failure: FailureClass, gib: float, numbers: Numbers, **more: Any) -> Case:
    running = Settings("vllm", "org/m", kv_cache_memory_bytes=int(gib * GIB))
    return Case(failure, numbers, running, vllm_version="0.32.0", **more)


def test_a_fixed_kv_cache_gives_up_what_the_failed_allocation_lacked() -> None:
    numbers = Numbers(tried_gib=1.5, free_gib=0.5, total_gib=80.0)
    found = change(kv_case(F.OOM_RUNTIME, 40, numbers))
    # 1.5 - 0.5 GiB were missing, 0.02 * 80 GiB to spare
    assert found.setting == KV_BYTES
    assert 37.33 * GIB <= found.value <= 37.4 * GIB


def test_a_fixed_kv_cache_grows_by_what_one_request_lacks() -> None:
    numbers = Numbers(needed_kv_gib=5.0, available_kv_gib=4.0, total_gib=80.0)
    found = change(kv_case(F.OOM_KV_TOO_SMALL_FOR_MAXLEN, 4, numbers))
    assert (found.setting, found.value) == (KV_BYTES, 5 * GIB)


def test_a_fixed_kv_cache_still_meets_the_check_of_free_memory() -> None:
    """That check knows only the share, which sizes nothing then (vLLM 0.27, published)."""
    numbers = Numbers(free_gib=80.0, total_gib=121.0, utilization=0.92)
    found = change(kv_case(F.OOM_FREE_MEM_STARTUP, 20, numbers, host_memory=True))
    assert (found.setting, found.value) == (UTILIZATION, 0.61)  # (80 - 0.5 - 0.04 * 121) / 121


def test_a_fixed_kv_cache_stays_within_its_limits() -> None:
    limits = Recovery(min_kv_cache_memory_bytes=4 * GIB, max_kv_cache_memory_bytes=int(4.5 * GIB))
    lower = kv_case(F.OOM_RUNTIME, 4, Numbers(tried_gib=1.0, total_gib=80.0), recovery=limits)
    assert not (isinstance(found := propose(lower), Change) and found.setting == KV_BYTES)
    numbers = Numbers(
        needed_kv_gib=5.0, available_kv_gib=4.0, estimated_max_model_len=26000, max_model_len=32768
    )
    higher = kv_case(F.OOM_KV_TOO_SMALL_FOR_MAXLEN, 4, numbers, recovery=limits)
    assert change(higher).setting == "max_model_len"


def test_a_fixed_kv_cache_has_bounds_of_its_own() -> None:
    failed = kv_case(F.OOM_RUNTIME, 8, Numbers(tried_gib=1.0, total_gib=80.0))
    bounds = bounds_after(failed)
    assert bounds[KV_BYTES].too_high == 8 * GIB
    numbers = Numbers(needed_kv_gib=9.0, available_kv_gib=6.0)
    raised = propose(kv_case(F.OOM_KV_TOO_SMALL_FOR_MAXLEN, 6, numbers, bounds=bounds))
    assert not isinstance(raised, Change)


# --- classes that no setting cures ---


@pytest.mark.parametrize("failure", [F.HUB_UNREACHABLE, F.HUB_OFFLINE, F.HUB_RATE_LIMIT, F.UNKNOWN])
@given(spent=st.integers(0, 50), repeats=st.integers(1, 50))
def test_the_hub_and_the_unknown_are_tried_for_ever(
    failure: FailureClass, spent: int, repeats: int
) -> None:
    running = Settings("vllm", "org/m")
    found = propose(Case(failure, Numbers(), running, spent=spent, repeats=repeats))
    assert isinstance(found, Retry)
    if failure is F.HUB_RATE_LIMIT:
        assert found.at_least_seconds >= 300


@pytest.mark.parametrize("failure", [F.CUDA_ILLEGAL_MEMORY_ACCESS, F.CUDA_LAUNCH_FAILURE])
def test_a_fault_of_cuda_that_comes_again_within_the_hour_costs_the_graphs(
    failure: FailureClass,
) -> None:
    running = Settings("vllm", "org/m")
    assert isinstance(propose(Case(failure, Numbers(), running)), Retry)
    second = propose(Case(failure, Numbers(), running, repeats=2))
    assert isinstance(second, Change)
    assert (second.setting, second.value) == ("enforce_eager", True)
    third = propose(Case(failure, Numbers(), running, spent=1, repeats=3))
    assert isinstance(third, Retry)
    assert "3 times within the hour" in third.why


@pytest.mark.parametrize("failure", [F.CUDA_ASSERT, F.NCCL_ERROR, F.NCCL_TIMEOUT, F.ENGINE_HUNG])
def test_other_faults_are_restarted_and_told_loudly_when_they_repeat(
    failure: FailureClass,
) -> None:
    found = propose(Case(failure, Numbers(), Settings("vllm", "org/m"), repeats=4))
    assert isinstance(found, Retry)
    assert "4 times within the hour" in found.why


@pytest.mark.parametrize(
    "failure", [F.WEIGHTS_CORRUPT, F.WEIGHTS_MISSING, F.WEIGHTS_MISMATCH, F.TOKENIZER_MISSING]
)
def test_broken_files_are_fetched_again_once_and_a_local_model_never(
    failure: FailureClass,
) -> None:
    def found(model: str, spent: int) -> Remedy:
        return propose(Case(failure, Numbers(), Settings("vllm", model), spent=spent))

    assert isinstance(found("org/m", 0), Refetch)
    assert isinstance(found("org/m", 1), Hold)
    assert isinstance(found("/srv/models/m", 0), Hold)


def test_memory_that_is_reserved_and_not_used_is_pointed_at() -> None:
    numbers = Numbers(tried_gib=0.5, reserved_gib=3.0, total_gib=24.0)
    limits = Recovery(min_gpu_memory_utilization=0.9)
    running = Settings(
        "vllm", "org/m", gpu_memory_utilization=0.9, max_num_batched_tokens=2048, max_num_seqs=8
    )
    found = propose(Case(F.OOM_RUNTIME, numbers, running, limits))
    assert isinstance(found, Retry)
    assert "expandable_segments" in found.why


def test_weights_that_do_not_fit_beside_another_process_may_fit_later() -> None:
    beside = Numbers(tried_gib=1.0, neighbour_gib=12.0, total_gib=24.0)
    assert isinstance(propose(case(F.OOM_WEIGHTS_LOAD, beside)), Retry)
    alone = Numbers(tried_gib=1.0, neighbour_gib=0.4, total_gib=24.0)
    assert isinstance(propose(case(F.OOM_WEIGHTS_LOAD, alone)), Hold)


@pytest.mark.parametrize("failure", sorted(FailureClass))
def test_each_class_has_a_remedy_of_its_kind(failure: FailureClass) -> None:
    """A fault that a new start may cure is never held; one that it cannot is never just tried."""
    found = propose(case(failure))
    if kind_of(failure) is Kind.TRANSIENT:
        assert not isinstance(found, Hold)
    elif kind_of(failure) is Kind.HUMAN or group_of(failure) is Group.CONFIGURATION:
        assert isinstance(found, Hold)
        assert found.what_to_do
    else:
        assert failure in LADDERS or not isinstance(found, Change)
