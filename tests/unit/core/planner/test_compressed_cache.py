# SPDX-License-Identifier: Apache-2.0
"""DeepSeek-V4's cache: windows, compressed latents and compressors' states in one pool."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.command.picture import picture_of_line
from agent.core.planner.asked.reading import Ground, request_of
from agent.core.planner.model import model_of
from agent.core.planner.plan import make_plan
from agent.core.planner.question import Fit, Measured, PlanRequest
from agent.core.planner.versions import version_of
from agent.host.models.known import known_config

CONFIG = known_config("deepseek-ai/DeepSeek-V4-Flash")
assert CONFIG is not None
FLASH = model_of(CONFIG)
ON_TWO_H200 = PlanRequest(
    139.8,
    version_of("0.22.0"),
    tensor_parallel_size=2,
    kv_cache_dtype="fp8",
    max_model_len=262144,
    gpu_memory_utilization=0.78,
    enforce_eager=True,
    gpu_name="NVIDIA H200",
)


def test_the_tokens_are_those_that_vllm_made_of_the_same_memory() -> None:
    # Printed: 32.08 GiB, 2,175,276 tokens, 8.30 requests.
    given_ = replace(ON_TWO_H200, measured=Measured(available_kv_gib=32.08))
    plan = make_plan(FLASH, given_)
    assert plan.kv_tokens == pytest.approx(2_175_276, rel=0.0005)
    assert plan.max_concurrency == pytest.approx(8.3, abs=0.005)


def test_later_releases_keep_a_block_more_of_each_window() -> None:
    # Printed: 50.57 GiB, 9.65 requests of 600,000 tokens.
    given_ = replace(
        ON_TWO_H200,
        version=version_of("0.24.0"),
        max_model_len=600_000,
        measured=Measured(available_kv_gib=50.57),
    )
    assert make_plan(FLASH, given_).max_concurrency == pytest.approx(9.65, abs=0.02)


def test_the_weights_are_within_a_hundredth_of_what_was_loaded() -> None:
    plan = make_plan(FLASH, ON_TWO_H200)
    assert plan.weights.gib == pytest.approx(74.08, rel=0.01)
    assert plan.verdict is Fit.FITS


def test_elsewhere_than_on_hopper_it_is_not_said_to_fit() -> None:
    plan = make_plan(FLASH, replace(ON_TWO_H200, gpu_name="NVIDIA RTX PRO 6000"))
    assert plan.verdict is Fit.TIGHT
    assert "Hopper" in plan.reason


def test_other_ratios_are_a_family_that_was_never_measured() -> None:
    for ratios in ([1, 2] * 22, [4], []):
        assert not model_of({**dict(CONFIG or {}), "compress_ratios": ratios}).known, ratios


def test_its_own_draft_layer_keeps_a_window_only() -> None:
    # 43 layers fill two groups of 22 windows but for one, which the draft layer takes.
    kv = make_plan(FLASH, ON_TWO_H200).kv
    assert [group.count for group in kv.groups] == [1, 2, 1, 1]
    assert kv.block_bytes == 22 * 37440 + 21 * 8640 + 20 * 1728
    line = ["m", "--speculative-config", '{"method": "mtp", "num_speculative_tokens": 2}']
    ground = Ground(replace(ON_TWO_H200, measured=Measured(available_kv_gib=32.08)))
    drafts = make_plan(FLASH, request_of(picture_of_line(line), FLASH, ground)).kv
    assert drafts.block_bytes == kv.block_bytes
    assert [group.count for group in drafts.groups] == [1, 2, 1, 1]


@given(st.integers(1, 1_000_000), st.integers(1, 1_000_000))
def test_a_longer_request_takes_no_fewer_blocks(some: int, other: int) -> None:
    kv = make_plan(FLASH, ON_TWO_H200).kv
    less, more = sorted((some, other))
    assert kv.request_blocks(less) <= kv.request_blocks(more)
