# SPDX-License-Identifier: Apache-2.0
"""What vLLM refuses or takes besides plain sums: scales, states, unified memory, encoders."""

from __future__ import annotations

from typing import Any

import pytest

from agent.core.planner.advice import advice_for
from agent.core.planner.layers import Keeps
from agent.core.planner.model import Model, model_of
from agent.core.planner.plan import make_plan
from agent.core.planner.question import Fit, Plan, PlanRequest
from agent.core.planner.terms.activation import STATES_FP4_GIB
from agent.core.planner.versions import version_of
from agent.host.models.known import known_config

H100 = 79.18


def model(name: str) -> Model:
    config = known_config(name)
    assert config is not None, name
    return model_of(config)


def plan(name: str, gib: float = H100, version: str = "0.32.0", **asked: Any) -> Plan:
    return make_plan(model(name), PlanRequest(gib, version=version_of(version), **asked))


@pytest.mark.parametrize(
    ("name", "gpus", "why"),
    [
        # 1536 / 8 = 192 and 768 / 4 = 192 are no multiples of 128 (vllm#17569, vllm#25292).
        ("Qwen/Qwen3-235B-A22B-FP8", 8, "expert's 192"),
        ("Qwen/Qwen3-30B-A3B-FP8", 4, "expert's 192"),
    ],
)
def test_a_scale_is_not_torn_by_a_split(name: str, gpus: int, why: str) -> None:
    refused = plan(name, tensor_parallel_size=gpus)
    assert refused.verdict is Fit.DOES_NOT_FIT
    assert why in refused.reason
    half = plan(name, tensor_parallel_size=gpus // 2)
    assert not half.refusal


def test_a_group_of_a_checkpoint_is_not_torn_and_of_a_name_it_is_a_doubt() -> None:
    """13824 / 8 = 1728 is no multiple of 128; published copies may have a wider MLP."""
    gpus: dict[str, Any] = {"tensor_parallel_size": 8}
    by_name = plan("Qwen/Qwen2.5-14B-Instruct-GPTQ-Int4", **gpus)
    assert by_name.verdict is Fit.TIGHT
    assert "128 numbers lies across" in by_name.reason
    own = {"quant_method": "gptq", "bits": 4, "group_size": 128}
    config = {**(known_config("Qwen/Qwen2.5-14B-Instruct") or {}), "quantization_config": own}
    by_file = make_plan(model_of(config), PlanRequest(H100, **gpus))
    assert by_file.verdict is Fit.DOES_NOT_FIT


def test_scales_of_a_channel_are_split_like_weights() -> None:
    served = plan("RedHatAI/Qwen3-30B-A3B-FP8-dynamic", tensor_parallel_size=4)
    assert served.verdict is Fit.FITS


@pytest.mark.parametrize("method", ["awq", "gptq_marlin", "modelopt_fp4", "nvfp4"])
def test_a_method_that_needs_a_quantized_checkpoint_is_refused_without_one(method: str) -> None:
    refused = plan("Qwen/Qwen3-8B", quantization=method)
    assert refused.verdict is Fit.DOES_NOT_FIT
    assert "the checkpoint is not quantized" in refused.reason


@pytest.mark.parametrize("method", ["fp8", "bitsandbytes", "fp8_per_tensor"])
def test_a_method_that_converts_at_load_is_taken(method: str) -> None:
    assert plan("Qwen/Qwen3-8B", quantization=method).verdict is Fit.FITS


def test_another_method_than_the_checkpoints_is_refused() -> None:
    refused = plan("Qwen/Qwen2.5-7B-Instruct-AWQ", quantization="gptq")
    assert "the checkpoint's own is awq" in refused.reason
    assert plan("Qwen/Qwen2.5-7B-Instruct-AWQ", quantization="awq_marlin").verdict is Fit.FITS


def test_a_batch_of_fewer_tokens_than_sequences_is_refused() -> None:
    refused = plan("Qwen/Qwen3-8B", max_num_batched_tokens=128, max_num_seqs=256)
    assert "less than max_num_seqs 256" in refused.reason
    unasked = plan("Qwen/Qwen3-8B", 23.5, max_num_seqs=4096)
    assert "2048, as vLLM takes it here unasked, is less than max_num_seqs 4096" in unasked.reason


def test_more_sequences_than_blocks_of_states_end_a_start_and_are_said_first() -> None:
    """H100, Qwen3.6-27B-FP8 and 1024 sequences: 856 blocks (vllm-project/recipes#551)."""
    asked: dict[str, Any] = {"gpu_memory_utilization": 0.95}
    refused = plan("Qwen/Qwen3.6-27B-FP8", version="0.22.0", **asked)
    assert refused.verdict is Fit.DOES_NOT_FIT
    assert "max_num_seqs 1024" in refused.reason
    assert refused.kv.blocks(refused.pool_bytes) == pytest.approx(856, rel=0.03)
    advice = advice_for(model("Qwen/Qwen3.6-27B-FP8"), refused)
    assert advice[0].startswith("max_num_seqs = "), advice
    assert not any("is a cap" in sentence for sentence in advice)


@pytest.mark.parametrize(
    ("version", "asked"),
    [("0.22.0", {"enforce_eager": True}), ("0.19.1", {}), ("0.22.0", {"max_num_seqs": 512})],
)
def test_states_are_no_reason_when_eager_or_before_0_20_or_when_they_are_enough(
    version: str, asked: dict[str, Any]
) -> None:
    served = plan("Qwen/Qwen3.6-27B-FP8", version=version, gpu_memory_utilization=0.95, **asked)
    assert served.verdict is not Fit.DOES_NOT_FIT


@pytest.mark.parametrize(
    ("version", "asked", "blocks"),
    [("0.26.0", None, 1), ("0.26.0", True, 2), ("0.28.0", None, 2), ("0.28.0", False, 1)],
)
def test_prefixes_of_hybrids_are_cached_unasked_since_0_28(
    version: str, *, asked: bool | None, blocks: int
) -> None:
    kv = plan("Qwen/Qwen3.6-27B-FP8", version=version, enable_prefix_caching=asked).kv
    assert kv.state_blocks == blocks


def test_0_20_0_prints_tokens_as_0_19_did() -> None:
    asked: dict[str, Any] = {"max_model_len": 32768, "kv_cache_dtype": "fp8", "max_num_seqs": 16}
    old, new = (plan("Qwen/Qwen3.6-27B-FP8", version=v, **asked) for v in ("0.20.0", "0.20.1"))
    assert new.kv_tokens > 2 * old.kv_tokens
    assert new.max_concurrency == old.max_concurrency


def test_unified_memory_has_small_defaults_and_a_wide_bar() -> None:
    card = plan("Qwen/Qwen3-30B-A3B-FP8", 121.7, "0.13.0")
    unified = plan("Qwen/Qwen3-30B-A3B-FP8", 121.7, "0.13.0", gpu_name="NVIDIA GB10")
    assert (card.batch.tokens, card.batch.sequences) == (8192, 1024)
    assert (unified.batch.tokens, unified.batch.sequences) == (2048, 256)
    assert unified.error_gib > 3 > card.error_gib
    assert "host's memory" in unified.non_torch.how


def test_nearly_all_of_unified_memory_is_not_free() -> None:
    asked = plan("Qwen/Qwen3-8B", 121.7, gpu_name="NVIDIA GB10", gpu_memory_utilization=0.95)
    assert asked.verdict is Fit.TIGHT
    assert "are free before the start" in asked.reason


BGE_M3 = {
    "architectures": ["XLMRobertaModel"],
    "model_type": "xlm-roberta",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "vocab_size": 250002,
    "max_position_embeddings": 8194,
    "torch_dtype": "float32",
}


def test_an_encoder_has_no_kv_cache_and_no_sampler() -> None:
    """bge-m3 on 5 % of a card of 24 GB, as README shows it."""
    found = make_plan(model_of(BGE_M3), PlanRequest(23.5, gpu_memory_utilization=0.05))
    assert found.verdict is Fit.FITS
    assert found.max_concurrency == 0
    assert found.weights.gib == pytest.approx(1.06, abs=0.03)
    assert (found.needed_kv_gib, found.cuda_graphs.gib) == (0, 0)
    assert "keeps no KV cache" in found.reason


def test_an_encoder_that_is_too_heavy_is_not_told_to_take_four_bits() -> None:
    bge = model_of(BGE_M3)
    found = make_plan(bge, PlanRequest(1.2, gpu_memory_utilization=0.9))
    assert found.verdict is Fit.DOES_NOT_FIT
    assert all("AWQ" not in sentence for sentence in advice_for(bge, found))


def test_the_way_down_to_a_latent_is_on_every_gpu() -> None:
    """DeepSeek-V3 on eight GPUs: 79.74 GiB were printed."""
    assert plan("deepseek-ai/DeepSeek-V3", 139.8, "0.12.0", tensor_parallel_size=8).weights.gib == (
        pytest.approx(79.739, rel=0.01)
    )


@pytest.mark.parametrize(
    ("version", "card", "printed"),
    [
        ("0.11.0", "NVIDIA H100 80GB HBM3", 65.97),
        ("0.14.1", "NVIDIA H100 80GB HBM3", 64.38),
        ("0.19.0", "NVIDIA A100-SXM4-80GB", 65.97),
    ],
)
def test_mxfp4_takes_what_its_kernel_pads_it_to(version: str, card: str, printed: float) -> None:
    found = plan("openai/gpt-oss-120b", version=version, gpu_name=card)
    assert found.weights.gib == pytest.approx(printed, rel=0.005)


def test_the_bar_of_nvfp4_by_name_spans_what_checkpoints_leave_in_16_bits() -> None:
    """27B copies of Qwen3.6 and 3.8 took 17.62, 19.75 and 24.04 GiB."""
    weights = plan("someone/Qwen3.6-27B-NVFP4").weights
    assert weights.gib - weights.error_gib < 18.5
    assert weights.gib + weights.error_gib > 24.04


def test_nvfp4_with_a_list_of_what_stays_is_counted_by_it() -> None:
    base = known_config("Qwen/Qwen3.6-27B")
    own = {"quant_method": "modelopt", "quant_algo": "NVFP4"}
    assert base is not None
    sizes = []
    for left in (["lm_head"], ["lm_head", "*self_attn*", "*linear_attn*"]):
        config = {**base, "quantization_config": {**own, "ignore": left}}
        weights = make_plan(model_of(config), PlanRequest(31.4)).weights
        assert weights.error_gib < 0.05 * weights.gib
        sizes.append(weights.gib)
    assert sizes[1] > sizes[0] + 5


@pytest.mark.parametrize(
    ("name", "printed"), [("Qwen/Qwen3-VL-2B-Instruct", 4.24), ("Qwen/Qwen3.5-9B", 17.66)]
)
def test_a_multimodal_rotary_table_is_four_times_as_long(name: str, printed: float) -> None:
    assert plan(name, 94.5).weights.gib == pytest.approx(printed, rel=0.01)


def test_experts_in_4_bit_floats_are_read_from_expert_dtype() -> None:
    config = dict(known_config("deepseek-ai/DeepSeek-V3") or {})
    fp8 = make_plan(model_of(config), PlanRequest(139.8, tensor_parallel_size=8)).weights.gib
    config["expert_dtype"] = "fp4"
    fp4 = make_plan(model_of(config), PlanRequest(139.8, tensor_parallel_size=8)).weights.gib
    assert fp4 < 0.6 * fp8


def test_experts_in_4_bit_floats_work_in_more_memory_the_larger_the_batch() -> None:
    small, large = (
        plan("RedHatAI/Qwen3.6-35B-A3B-NVFP4", 94.97, max_num_seqs=8, max_num_batched_tokens=tokens)
        for tokens in (4096, 32768)
    )
    plain = plan("Qwen/Qwen3.6-35B-A3B", 94.97, max_num_seqs=8, max_num_batched_tokens=32768)
    kept = STATES_FP4_GIB
    assert large.activation.gib - kept > 2 * (small.activation.gib - kept)
    assert large.activation.gib > 1.5 * plain.activation.gib


def test_0_11_keeps_room_for_twelve_tokens_of_each_of_a_videos() -> None:
    """Qwen3-VL's budget of 153,600 tokens lies on each GPU whole, with three more layers."""
    old, new = (
        plan("Qwen/Qwen3-VL-8B-Instruct", version=v, tensor_parallel_size=4)
        for v in ("0.11.0", "0.16.0")
    )
    assert old.activation.gib > new.activation.gib + 3


def test_a_long_video_is_profiled_only_where_a_request_may_hold_it() -> None:
    long, short = (
        plan("Qwen/Qwen2.5-VL-7B-Instruct", version="0.16.0", max_model_len=length)
        for length in (128_000, 8192)
    )
    assert long.activation.gib > 2 * short.activation.gib


def test_a_family_that_was_never_measured_holds_nothing_and_says_so() -> None:
    plain = known_config("Qwen/Qwen3-8B")
    config = {**(plain or {}), "model_type": "newcomer", "architectures": ["NewcomerForCausalLM"]}
    heavy = {**config, "num_hidden_layers": 900}
    found = make_plan(model_of(heavy), PlanRequest(23.5))
    assert found.verdict is Fit.TIGHT
    assert "never measured" in found.reason
    assert found.available_kv_gib >= 0
    assert all(layer.keeps is Keeps.TOKENS for layer in model_of(heavy).layers)
