# SPDX-License-Identifier: Apache-2.0
"""What the profiling run takes beside text: images and videos, experts that are permuted, drafters.

Each figure is what vLLM printed of a start of that release on that card.
"""

from __future__ import annotations

import shlex

import pytest

from agent.core.command.picture import picture_of_line
from agent.core.planner.asked.reading import Ground, request_of
from agent.core.planner.model import Model, model_of
from agent.core.planner.plan import make_plan
from agent.core.planner.question import Plan, PlanRequest
from agent.core.planner.versions import version_of
from agent.host.models.known import known_config


def plan(line: str, name: str, version: str, gib: float, card: str = "") -> Plan:
    model = _model(name)
    ground = Ground(PlanRequest(gib, version_of(version), gpu_name=card))
    return make_plan(model, request_of(picture_of_line(["m", *shlex.split(line)]), model, ground))


def _model(name: str) -> Model:
    config = known_config(name)
    assert config is not None
    return model_of(config)


def test_the_longest_video_of_a_gated_encoder_takes_what_an_a100_printed() -> None:
    """It had 17.44 GiB of the card, 15.67 of weights, and was 14.28 GiB short (0.23)."""
    found = plan("--gpu-memory-utilization 0.22", "Qwen/Qwen2.5-VL-7B-Instruct", "0.23.0", 79.25)
    assert found.available_kv_gib == pytest.approx(-14.28, abs=0.4)


def test_without_videos_the_longest_item_is_an_image() -> None:
    name, images = "Qwen/Qwen2.5-VL-7B-Instruct", "--limit-mm-per-prompt '{\"video\": 0}'"
    every, still = (plan(line, name, "0.23.0", 79.25) for line in ("", images))
    assert every.activation.gib > 5 * still.activation.gib
    assert every.weights == still.weights


def test_sampling_peaks_as_high_beside_an_encoder_as_without_one() -> None:
    """Qwen3-VL-30B on an H100 NVL with 1024 sequences left 19.4 GiB (0.13)."""
    found = plan("--max-model-len 8192", "Qwen/Qwen3-VL-30B-A3B-Instruct", "0.13.0", 93.1, "H100")
    assert found.available_kv_gib == pytest.approx(19.4, rel=0.1)


def test_the_new_runner_of_0_26_alone_encodes_nothing_while_it_profiles() -> None:
    name = "Qwen/Qwen2.5-VL-7B-Instruct"
    seen, unseen = (plan("", name, version, 79.25).activation for version in ("0.27.1", "0.26.0"))
    assert "images" in seen.how
    assert "images" not in unseen.how
    assert unseen.gib < seen.gib / 5


def test_experts_in_floats_of_eight_bits_by_channel_are_permuted_before_and_after() -> None:
    """Qwen3.5-122B on four L40S: 65536 tokens a step took 6.3 GiB more than 32768 (0.18)."""
    line = "--tensor-parallel-size 4 --language-model-only --max-num-seqs 4 --enforce-eager"
    name = "RedHatAI/Qwen3.5-122B-A10B-FP8-dynamic"
    short, long = (
        plan(f"{line} --max-num-batched-tokens {tokens}", name, "0.18.0", 44.39).activation.gib
        for tokens in (32768, 65536)
    )
    assert long - short == pytest.approx(6.26, abs=0.3)


def test_what_drafts_for_layers_that_attend_or_have_experts_has_one_of_each() -> None:
    """Nemotron-3-Super in NVFP4 with MTP loaded 75.03 GiB (0.20 on a GB10)."""
    line = '--speculative-config \'{"method": "mtp", "num_speculative_tokens": 3}\''
    name = "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-NVFP4"
    assert plan(line, name, "0.20.0", 121.6).loaded_gib == pytest.approx(75.03, rel=0.02)


@pytest.mark.parametrize(("version", "gib"), [("0.11.0", 3.4554), ("0.9.2", 4.2)])
def test_an_encoder_that_no_prompt_may_use_is_left_out_since_0_10_2(
    version: str, gib: float
) -> None:
    """Qwen3-VL-Embedding-2B on a T4 loaded 3.4554 GiB without images and videos (0.11)."""
    line = '--limit-mm-per-prompt \'{"image": 0, "video": 0}\' --dtype half'
    found = plan(line, "Qwen/Qwen3-VL-2B-Instruct", version, 14.56)
    assert found.loaded_gib == pytest.approx(gib, rel=0.02)


def test_a_model_that_is_quantized_while_it_is_loaded_has_the_runner_of_quantized_ones() -> None:
    plain, made = (
        plan(line, "Qwen/Qwen3-8B", "0.23.0", 44.39) for line in ("", "--quantization fp8")
    )
    assert not plain.graphs_inside
    assert made.graphs_inside
