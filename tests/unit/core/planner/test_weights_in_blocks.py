# SPDX-License-Identifier: Apache-2.0
"""What weights take on the card beyond their bytes: the allocator's blocks, and rotary tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.planner.model import model_of
from agent.core.planner.plan import make_plan
from agent.core.planner.question import PlanRequest
from agent.core.planner.terms.blocks import MIB, in_blocks
from agent.core.planner.versions import version_of
from agent.host.models.known import known_config


def weights(name: str, release: str, tp: int = 1, quantization: str | None = None) -> float:
    config = known_config(name)
    assert config is not None, name
    request = PlanRequest(
        140.0, version_of(release), tensor_parallel_size=tp, quantization=quantization
    )
    return make_plan(model_of(config), request).weights.gib


@pytest.mark.parametrize(
    ("size", "taken"),
    [
        (135 * MIB, 136 * MIB),
        (67.5 * MIB, 68 * MIB),
        (12.5 * MIB, 12.5 * MIB),  # 1.5 MiB are split off for others
        (40 * MIB, 40 * MIB),
        (4.2 * MIB, 4.2 * MIB),
    ],
)
def test_what_is_left_of_a_block_stays_with_its_tensor_unless_it_can_be_split(
    size: float, taken: float
) -> None:
    assert in_blocks(size) == taken


@given(st.integers(min_value=0, max_value=2**36))
def test_a_tensor_takes_its_size_and_no_more_than_a_small_buffer_beyond(size: int) -> None:
    assert size <= in_blocks(size) <= size + MIB


@pytest.mark.parametrize(
    ("name", "release", "tp", "printed"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "0.19.0", 1, 14.25),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-14B", "0.7.2", 2, 13.95),
        ("Qwen/Qwen2.5-32B-Instruct", "0.18.1", 4, 15.39),
        ("Qwen/Qwen2.5-32B-Instruct-AWQ", "0.27.0", 1, 18.14),
        ("Qwen/Qwen3-32B", "0.27.1", 2, 30.59),
        ("LGAI-EXAONE/EXAONE-4.0-32B-FP8", "0.11.0", 1, 30.99),
        ("RedHatAI/DeepSeek-R1-Distill-Qwen-32B-FP8-dynamic", "0.11.0", 1, 32.20),
        ("meta-llama/Llama-3.1-8B-Instruct", "0.19.0", 1, 14.99),  # every matrix fills its blocks
    ],
)
def test_dense_models_weigh_what_vllm_prints(
    name: str, release: str, tp: int, printed: float
) -> None:
    assert weights(name, release, tp) == pytest.approx(printed, abs=0.02)


@pytest.mark.parametrize(
    ("name", "release", "quantization", "printed"),
    [
        ("google/gemma-4-26B-A4B-it", "0.19.0", None, 48.5),
        ("google/gemma-4-31B-it", "0.18.1", "fp8", 31.47),
        ("google/gemma-4-12b-it-qat-w4a16-ct", "0.26.0", None, 8.28),
    ],
)
def test_gemma_4_has_a_rotary_table_for_each_width_of_its_heads(
    name: str, release: str, quantization: str | None, printed: float
) -> None:
    assert weights(name, release, quantization=quantization) == pytest.approx(printed, abs=0.1)
