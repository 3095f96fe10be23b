# SPDX-License-Identifier: Apache-2.0
"""What one release of vLLM counts otherwise than another, with what public starts printed."""

from __future__ import annotations

from typing import Any

import pytest

from agent.core.planner.asked.ask import Asked
from agent.core.planner.model import Model, model_of
from agent.core.planner.plan import make_plan
from agent.core.planner.question import Fit, Plan, PlanRequest
from agent.core.planner.versions import version_of
from agent.core.planner.weights import counted
from agent.host.models.known import known_config


def model(name: str) -> Model:
    config = known_config(name)
    assert config is not None, name
    return model_of(config)


def plan(name: str, gib: float, version: str, **asked: Any) -> Plan:
    return make_plan(model(name), PlanRequest(gib, version=version_of(version), **asked))


def test_a_window_keeps_what_two_steps_under_way_add_since_0_26() -> None:
    """Two H200: 609,100 tokens at 9.29 requests of 65,536 tokens."""
    asked: dict[str, Any] = {
        "gpu_memory_utilization": 0.85,
        "max_model_len": 65536,
        "tensor_parallel_size": 2,
    }
    after = plan("google/gemma-4-31B-it", 139.8, "0.26.0", **asked)
    assert after.kv_tokens == pytest.approx(609_100, rel=0.05)
    before = plan("google/gemma-4-31B-it", 139.8, "0.24.0", **asked)
    alone = Asked(overlapped=False)
    one_by_one = plan("google/gemma-4-31B-it", 139.8, "0.26.0", **asked, asked=alone)
    assert before.kv.in_flight_tokens == one_by_one.kv.in_flight_tokens == 8192
    assert after.kv.in_flight_tokens == 16384


def test_a_pipeline_has_as_many_steps_under_way_as_stages_and_one_with_the_new_runner() -> None:
    asked: dict[str, Any] = {"pipeline_parallel_size": 4, "max_num_batched_tokens": 2048}
    newest = plan("google/gemma-2-9b-it", 79.18, "0.32.0", **asked)
    assert newest.kv.in_flight_tokens == 5 * 2048


def test_a_small_share_of_a_shared_card_is_a_doubt_where_v1_counts_the_others() -> None:
    """A800 and A100 at 0.4 and 0.3: both ended without memory (vllm#17431, vllm#18124)."""
    shared = plan("Qwen/Qwen3-8B", 79.15, "0.8.5", gpu_memory_utilization=0.4)
    assert shared.verdict is Fit.TIGHT
    assert "counts what other processes hold" in shared.reason
    told = plan("Qwen/Qwen3-8B", 79.15, "0.8.5", gpu_memory_utilization=0.4, free_gib=78.0)
    later = plan("Qwen/Qwen3-8B", 79.15, "0.11.0", gpu_memory_utilization=0.4)
    v0 = plan("Qwen/Qwen3-8B", 79.15, "0.7.3", gpu_memory_utilization=0.4)
    assert "other processes" not in told.reason + later.reason + v0.reason


def test_compiling_leaves_something_behind_and_an_eager_start_nothing() -> None:
    compiled = plan("Qwen/Qwen3-8B", 31.36, "0.24.0").non_torch
    eager = plan("Qwen/Qwen3-8B", 31.36, "0.24.0", enforce_eager=True).non_torch
    assert compiled.gib > eager.gib
    assert compiled.error_gib > eager.error_gib
    assert "compiling" in compiled.how
    assert "compiling" not in eager.how


def test_the_releases_that_count_pinned_segments_are_given_more_room() -> None:
    """One card and one model: 10,576 tokens with 0.29, 19,744 with 0.30."""
    asked: dict[str, Any] = {"gpu_memory_utilization": 0.7, "max_model_len": 8192}
    before = plan("Qwen/Qwen3-4B", 15.93, "0.29.0", **asked)
    after = plan("Qwen/Qwen3-4B", 15.93, "0.30.0", **asked)
    assert before.available_kv_gib < after.available_kv_gib
    assert after.kv_tokens == pytest.approx(19_744, rel=0.1)
    assert before.low_gib < 1.45 < before.high_gib


def test_cards_without_symmetric_buffers_give_less_to_nccl() -> None:
    gpus: dict[str, Any] = {"tensor_parallel_size": 2}
    h200 = plan("Qwen/Qwen3-32B", 139.8, "0.20.0", gpu_name="NVIDIA H200", **gpus)
    pro = plan("Qwen/Qwen3-32B", 94.97, "0.20.0", gpu_name="NVIDIA RTX PRO 6000", **gpus)
    a100 = plan("Qwen/Qwen3-32B", 79.15, "0.20.0", gpu_name="NVIDIA A100-SXM4-80GB", **gpus)
    assert pro.non_torch.gib == a100.non_torch.gib < h200.non_torch.gib


@pytest.mark.parametrize(
    ("name", "gpus", "printed"),
    [
        ("nvidia/Llama-3.1-8B-Instruct-NVFP4", 1, 5.6473),
        ("zai-org/GLM-4.7-NVFP4", 4, 47.11),
        ("nvidia/Gemma-4-31B-IT-NVFP4", 1, 31.04),
        ("nvidia/Gemma-4-26B-A4B-NVFP4", 1, 17.89),
        ("unsloth/Qwen2.5-0.5B-Instruct-unsloth-bnb-4bit", 1, 0.52),
    ],
)
def test_what_a_publisher_leaves_plain_is_known_by_name(
    name: str, gpus: int, printed: float
) -> None:
    found = counted(model(name), None, gpus, 1)
    assert found.gib == pytest.approx(printed, rel=0.03)


def test_what_nobody_knows_of_a_name_stays_a_span() -> None:
    """Two publishers' copies print 17.62, without an encoder of 0.78, and 24.04 GiB."""
    found = counted(model("somebody/Qwen3.8-27B-NVFP4"), None, 1, 1)
    assert found.gib - found.error_gib < 17.62 + 0.78
    assert found.gib + found.error_gib > 24.0


def test_llama_3_70b_ends_at_its_own_length() -> None:
    assert model("TechxGenus/Meta-Llama-3-70B-Instruct-AWQ").max_position == 8192


def test_experts_that_are_spread_whole_tear_no_scale() -> None:
    """The cure that vLLM names for Qwen3-235B-A22B-FP8 on eight GPUs (vllm#17569)."""
    gpus: dict[str, Any] = {"tensor_parallel_size": 8}
    torn = plan("Qwen/Qwen3-235B-A22B-FP8", 79.18, "0.19.0", **gpus)
    spread = Asked(whole_experts=True)
    served = plan("Qwen/Qwen3-235B-A22B-FP8", 79.18, "0.19.0", **gpus, asked=spread)
    assert torn.verdict is Fit.DOES_NOT_FIT
    assert served.verdict is Fit.FITS


def test_a_family_that_was_never_measured_is_not_refused_for_a_guess() -> None:
    eight = plan("Qwen/Qwen3.8-Flash-Next-FP8", 44.39, "0.28.0", tensor_parallel_size=8)
    assert eight.verdict is Fit.TIGHT
    assert "never measured" in eight.reason


def test_a_latent_of_mistral_small_4_is_what_vllm_printed() -> None:
    """22.5 GiB for 1,048,576 tokens (kaito-project/kaito#2132)."""
    found = plan("mistralai/Mistral-Small-4-119B-2603", 93.1, "0.20.1", tensor_parallel_size=2)
    assert found.needed_kv_gib == pytest.approx(22.5, rel=0.001)


def test_a_publisher_of_small_groups_takes_more() -> None:
    small = counted(model("cyankiwi/Qwen3.5-9B-AWQ-4bit"), None, 1, 1)
    usual = counted(model("somebody/Qwen3.5-9B-AWQ-4bit"), None, 1, 1)
    assert small.gib > 1.03 * usual.gib


@pytest.mark.parametrize(
    ("tokens", "share", "printed"), [(32768, 0.96, 12.15), (65536, 0.92, 4.15)]
)
def test_experts_that_are_spread_whole_keep_what_they_read_and_what_they_return(
    tokens: int, share: float, printed: float
) -> None:
    """Four H100 and 240,000 tokens of context: the batch decided which of two started (0.20)."""
    found = plan(
        "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8",
        79.19,
        "0.20.0",
        tensor_parallel_size=4,
        gpu_memory_utilization=share,
        max_model_len=240_000,
        max_num_seqs=128,
        max_num_batched_tokens=tokens,
        asked=Asked(whole_experts=True),
    )
    assert found.available_kv_gib == pytest.approx(printed, abs=0.5)
    assert found.verdict is Fit.TIGHT
