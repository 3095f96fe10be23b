# SPDX-License-Identifier: Apache-2.0
"""Each family's config.json is read as vLLM reads it: parameters, cache, and what is not known."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.measures import GIB
from agent.core.planner.asked.ask import Asked
from agent.core.planner.config_keys import NotAModelError
from agent.core.planner.layers import Keeps
from agent.core.planner.model import model_of
from agent.core.planner.plan import make_plan
from agent.core.planner.question import Fit, PlanRequest
from agent.core.planner.terms.formats import UnknownQuantizationError
from agent.core.planner.versions import version_of
from agent.core.planner.weights import counted
from agent.host.models.known import known_config, known_models

PLAIN: dict[str, Any] = {
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128000,
    "max_position_embeddings": 262144,
    "torch_dtype": "bfloat16",
    "tie_word_embeddings": False,
}
MAMBA = {
    "mamba_n_heads": 128,
    "mamba_d_head": 64,
    "mamba_d_state": 256,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
    "mamba_n_groups": 1,
}


def bytes_per_token(config: dict[str, Any], version: str = "0.19", **asked: Any) -> float:
    return make_plan(
        model_of(config), PlanRequest(80.0, version=version_of(version), **asked)
    ).kv.bytes_per_token


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("meta-llama/Llama-2-7b-hf", 6.74),
        ("meta-llama/Llama-3.1-405B-Instruct", 405.9),
        ("meta-llama/Llama-3.2-1B", 1.24),
        ("mistralai/Mistral-Nemo-Instruct-2407", 12.25),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", 46.7),
        ("mistralai/Mixtral-8x22B-Instruct-v0.1", 140.6),
        ("Qwen/Qwen2.5-0.5B-Instruct", 0.494),
        ("Qwen/Qwen2.5-VL-7B-Instruct", 8.29),
        ("Qwen/Qwen3-30B-A3B", 30.5),
        ("Qwen/Qwen3-235B-A22B", 235.1),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", 79.7),
        ("google/gemma-2-27b-it", 27.2),
        ("google/gemma-3-12b-it", 12.2),
        ("microsoft/Phi-4-mini-instruct", 3.84),
        ("zai-org/GLM-4.5-Air", 106.9),
        ("ai21labs/AI21-Jamba-1.5-Mini", 51.6),
        ("CohereForAI/c4ai-command-r-v01", 35.0),
        ("Qwen/Qwen3.5-122B-A10B", 122.5),
        ("Qwen/Qwen3.5-397B-A17B", 397),
        ("Qwen/Qwen3-VL-235B-A22B-Instruct", 235.7),
        ("zai-org/GLM-5", 744),
        ("zai-org/GLM-4.5V", 108),
        ("ByteDance-Seed/Seed-OSS-36B-Instruct", 36.15),
        ("ibm-granite/granite-3.1-3b-a800m-instruct", 3.3),
        ("ibm-granite/granite-3.1-1b-a400m-instruct", 1.33),
        ("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", 31.6),
        ("nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-BF16", 120.7),
        ("MiniMaxAI/MiniMax-M3", 428),
        ("BAAI/bge-m3", 0.568),
        ("BAAI/bge-base-en-v1.5", 0.109),
    ],
)
def test_counted_parameters_are_those_that_were_published(name: str, billions: float) -> None:
    weights = counted(model_of(known_models()[name]), None, 1, 1)
    assert weights.gib * GIB / 2e9 == pytest.approx(billions, rel=0.02)


@pytest.mark.parametrize(
    ("name", "base_name"),
    [
        ("Qwen/Qwen2.5-32B-Instruct-AWQ", "Qwen/Qwen2.5-32B-Instruct"),
        ("RedHatAI/Qwen3-32B-FP8-dynamic", "Qwen/Qwen3-32B"),
        ("someone/Llama-3.3-70B-Instruct-bnb-4bit", "meta-llama/Llama-3.3-70B-Instruct"),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", "Qwen/Qwen2.5-7B-Instruct"),
    ],
)
def test_a_quantized_copy_has_its_models_layers_in_fewer_bytes(name: str, base_name: str) -> None:
    found, base = known_config(name), known_config(base_name)
    assert found is not None
    assert base is not None
    copy, whole = model_of(found), model_of(base)
    assert copy.layers == whole.layers
    assert counted(copy, None, 1, 1).gib < 0.65 * counted(whole, None, 1, 1).gib


def test_a_name_that_nobody_knows_is_not_guessed() -> None:
    assert known_config("someone/Frobnicator-7B-AWQ") is None


def test_a_window_kept_every_token_before_the_hybrid_cache() -> None:
    gemma = dict(known_models()["google/gemma-3-27b-it"])
    assert bytes_per_token(gemma, "0.8.5") == 62 * 16 * 128 * 2 * 2
    assert bytes_per_token(gemma, "0.11") == 10 * 16 * 128 * 2 * 2


def test_deepseeks_latent_has_been_cached_in_three_ways() -> None:
    lite = dict(known_models()["deepseek-ai/DeepSeek-V2-Lite"])
    assert bytes_per_token(lite, "0.6.6") == 27 * 16 * 2 * 256 * 2
    assert bytes_per_token(lite, "0.7.2") == 27 * 640 * 2
    assert bytes_per_token(lite, "0.9.2") == 27 * 576 * 2


def test_a_sparse_indexer_keeps_bytes_of_its_own_beside_the_latent() -> None:
    sparse = dict(known_models()["deepseek-ai/DeepSeek-V3.2"])
    assert bytes_per_token(sparse, "0.19") == 61 * (576 * 2 + 132)
    assert bytes_per_token(sparse, "0.19", kv_cache_dtype="fp8") == 61 * (656 + 132)


WIDE, PLAIN_FP8, PACKED = 576 * 2, 576, 656


@pytest.mark.parametrize(
    ("name", "card", "version", "bytes_of_latent"),
    [
        ("deepseek-ai/DeepSeek-V3.2", "NVIDIA H200", "0.11.0", PACKED),
        ("deepseek-ai/DeepSeek-V3.2", "NVIDIA H200", "0.11.2", WIDE),
        ("deepseek-ai/DeepSeek-V3.2", "NVIDIA B200", "0.33.0", WIDE),
        ("zai-org/GLM-5.2", "NVIDIA B200", "0.31.0", WIDE),
        ("zai-org/GLM-5.2", "NVIDIA B200", "0.32.0", PLAIN_FP8),
        ("zai-org/GLM-5.2", "NVIDIA GB300", "0.33.0", PLAIN_FP8),
        ("zai-org/GLM-5.2", "NVIDIA H200", "0.33.0", WIDE),
        ("zai-org/GLM-5.2", "NVIDIA RTX PRO 6000 Blackwell Server Edition", "0.24.0", PACKED),
        ("zai-org/GLM-5.2", "NVIDIA RTX 6000 Ada Generation", "0.24.0", WIDE),
        ("zai-org/GLM-5.3-Flash", "NVIDIA B200", "0.32.0", 512 * 2),
        ("zai-org/GLM-5.3-Flash", "NVIDIA B200", "0.33.0", 512),
        ("zai-org/GLM-5.3-Flash", "NVIDIA H200", "0.33.0", 512 * 2),
    ],
)
def test_sparse_latents_are_cached_in_a_format_of_the_card_and_release(
    name: str, card: str, version: str, bytes_of_latent: int
) -> None:
    config = dict(known_models()[name])
    layers = [x for x in model_of(config).layers if x.keeps is Keeps.LATENT]
    found = bytes_per_token(config, version, gpu_name=card)
    assert found == sum(bytes_of_latent + layer.index_bytes for layer in layers)
    # What is asked for stays: 16 bits on every card that has a kernel for them.
    if "RTX PRO" not in card and version != "0.11.0":
        asked = bytes_per_token(config, version, gpu_name=card, kv_cache_dtype="bfloat16")
        assert asked == sum(layer.kv_width * 2 + layer.index_bytes for layer in layers)


@pytest.mark.parametrize(
    ("card", "version", "bytes_of_latent"),
    [
        ("NVIDIA H200", "0.33.0", PACKED),
        ("NVIDIA B200", "0.16.0", PACKED),
        ("NVIDIA B200", "0.19.1", PLAIN_FP8),
    ],
)
def test_fp8_that_is_asked_for_is_packed_but_where_flashinfer_reads_it(
    card: str, version: str, bytes_of_latent: int
) -> None:
    config = dict(known_models()["deepseek-ai/DeepSeek-V3.2"])
    asked = bytes_per_token(config, version, gpu_name=card, kv_cache_dtype="fp8")
    assert asked == 61 * (bytes_of_latent + 132)
    # A checkpoint with scales for its cache asks for it, too.
    scaled = {**config, "quantization_config": {"quant_method": "modelopt", "quant_algo": "FP8"}}
    scaled["quantization_config"]["kv_cache_quant_algo"] = "FP8"
    assert bytes_per_token(scaled, version, gpu_name=card) == asked


def test_latents_without_an_indexer_are_cached_as_they_are_asked_for() -> None:
    config = dict(known_models()["deepseek-ai/DeepSeek-V3"])
    for card in ("NVIDIA B200", "NVIDIA H200", "NVIDIA RTX PRO 6000 Blackwell Server Edition"):
        assert bytes_per_token(config, gpu_name=card) == 61 * WIDE
        assert bytes_per_token(config, gpu_name=card, kv_cache_dtype="fp8") == 61 * PLAIN_FP8


def test_mimos_values_are_narrower_than_its_keys_and_its_windows_have_other_heads() -> None:
    """Eight H100: 20.1 GiB of weights, 49.18 of cache for 6,969,972 tokens (0.31)."""
    mimo = model_of(known_models()["XiaomiMiMo/MiMo-V2.6-Flash-MOPD"])
    kept = Counter((layer.keeps, layer.kv_heads, layer.kv_width) for layer in mimo.layers)
    assert kept == {(Keeps.TOKENS, 4, 320): 9, (Keeps.WINDOW, 8, 320): 39}
    request = PlanRequest(
        79.18,
        version_of("0.31.0"),
        tensor_parallel_size=8,
        max_model_len=262144,
        max_num_batched_tokens=8192,
        asked=Asked(text_only=True, whole_experts=True),
    )
    found = make_plan(mimo, request)
    assert found.weights.gib == pytest.approx(20.1, rel=0.02)
    held = found.kv.concurrency(49.18 * GIB, 262144) * 262144
    assert held == pytest.approx(6_969_972, rel=0.001)


def test_glm_5_3_keeps_latents_without_a_rope_part_and_one_index_entry_for_four_tokens() -> None:
    """Eight H200: 81.79 GiB of cache for 7,228,559 tokens; 38.24 of weights (0.28)."""
    glm = model_of(known_models()["zai-org/GLM-5.3-Flash"])
    latents = [layer for layer in glm.layers if layer.keeps is Keeps.LATENT]
    assert {(layer.kv_width, layer.index_bytes) for layer in latents} == {(512, 33)}
    assert (len(latents), len(glm.layers)) == (11, 45)
    request = PlanRequest(139.8, version_of("0.28.0"), tensor_parallel_size=8, max_model_len=131072)
    found = make_plan(glm, request)
    assert found.weights.gib == pytest.approx(38.24, rel=0.02)
    held = found.kv.concurrency(81.79 * GIB, 131072) * 131072
    assert held == pytest.approx(7_228_559, rel=0.01)
    plain = make_plan(model_of(known_models()["zai-org/GLM-5.3-Flash-BF16"]), request)
    assert plain.weights.gib > 1.8 * found.weights.gib


def test_a_sparse_indexer_sets_room_aside_for_every_token_of_the_context() -> None:
    """Five widened latents for each: 5.6 GiB for GLM-5.2's million."""
    model = model_of(known_models()["zai-org/GLM-5.2"])
    full, quarter, old = (
        make_plan(
            model,
            PlanRequest(139.8, version_of(version), max_model_len=length, max_num_seqs=1),
        ).activation
        for version, length in (("0.23.0", 1 << 20), ("0.23.0", 1 << 18), ("0.12.0", 1 << 20))
    )
    assert full.gib - quarter.gib == pytest.approx(0.75 * 5 * 576 * 2 * 2**20 / GIB)
    assert "indexer" in full.how
    assert "indexer" not in old.how


@pytest.mark.parametrize(("length", "widened"), [(1 << 18, 5), ((1 << 18) + 1, 2), (1 << 20, 2)])
def test_since_0_32_less_is_set_aside_for_each_token_of_a_long_context(
    length: int, widened: int
) -> None:
    model = model_of(known_models()["zai-org/GLM-5.2"])
    new, before = (
        make_plan(
            model, PlanRequest(139.8, version_of(version), max_model_len=length, max_num_seqs=1)
        ).activation.gib
        for version in ("0.32.0", "0.31.0")
    )
    assert before - new == pytest.approx((5 - widened) * 576 * 2 * length / GIB, abs=1e-6)


def test_a_latent_that_vllm_does_not_know_is_cached_as_keys_and_values() -> None:
    config = {
        **PLAIN,
        "model_type": "minicpm3",
        "kv_lora_rank": 256,
        "qk_nope_head_dim": 64,
        "qk_rope_head_dim": 32,
    }
    assert bytes_per_token(config) == 32 * 32 * 2 * 96 * 2


def test_falcon_h1_has_attention_and_a_state_in_every_layer() -> None:
    layers = model_of({**PLAIN, **MAMBA, "model_type": "falcon_h1"}).layers
    assert sum(layer.keeps is Keeps.TOKENS for layer in layers) == 32
    assert sum(layer.keeps is Keeps.STATE for layer in layers) == 32


@pytest.mark.parametrize(
    ("said", "attention_layers"),
    [
        ({"model_type": "bamba", "attn_layer_indices": [9, 18, 27], **MAMBA}, 3),
        ({"model_type": "jamba", "attn_layer_period": 8, "attn_layer_offset": 4}, 4),
        ({"model_type": "minimax", "attn_type_list": [0, 0, 0, 1] * 8}, 8),
        ({"model_type": "lfm2", "conv_L_cache": 3, "full_attn_idxs": [2, 5, 8]}, 3),
        (
            {"model_type": "granitemoehybrid", "layer_types": ["mamba", "attention"] * 16, **MAMBA},
            16,
        ),
        (
            {
                "model_type": "kimi_linear",
                "kv_lora_rank": 512,
                "linear_attn_config": {
                    "full_attn_layers": [4, 8, 12],
                    "num_heads": 32,
                    "head_dim": 128,
                },
            },
            3,
        ),
    ],
)
def test_each_hybrid_says_in_its_own_words_where_it_attends(
    said: dict[str, Any], attention_layers: int
) -> None:
    layers = model_of({**PLAIN, **said}).layers
    attending = [x for x in layers if x.keeps in (Keeps.TOKENS, Keeps.LATENT)]
    assert len(attending) == attention_layers
    assert sum(x.keeps is Keeps.STATE for x in layers) == 32 - attention_layers


def test_a_pruned_llama_keeps_what_each_block_still_has() -> None:
    whole = {"attention": {"n_heads_in_group": 8}, "ffn": {"intermediate_size": 14336}}
    bare = {"attention": {"no_op": True}, "ffn": {"no_op": True}}
    config = {**PLAIN, "model_type": "nemotron-nas", "block_configs": [whole] * 20 + [bare] * 12}
    assert bytes_per_token(config) == 20 * 4 * 128 * 2 * 2


def test_a_letter_pattern_may_be_a_list_of_words() -> None:
    words = {
        **PLAIN,
        **MAMBA,
        "model_type": "nemotron_h",
        "layers_block_type": ["mamba", "mlp", "attention", "moe"],
        "n_routed_experts": 8,
        "moe_intermediate_size": 1024,
    }
    letters = {**words, "hybrid_override_pattern": "M-*E"}
    assert model_of(words).layers == model_of(letters).layers
    assert len(model_of(words).layers) == 4


def test_a_checkpoint_of_32_bits_is_loaded_in_16() -> None:
    assert model_of({**PLAIN, "torch_dtype": "float32"}).dtype_bytes == 2
    assert bytes_per_token({**PLAIN, "model_type": "llama"}, dtype="float32") == 32 * 8 * 256 * 4


def test_auto_follows_the_checkpoints_scales_from_the_version_that_reads_them() -> None:
    scaled = {**PLAIN, "quantization_config": {"quant_method": "fp8", "kv_cache_scheme": {"x": 1}}}
    assert bytes_per_token(scaled, "0.11") == 2 * bytes_per_token(scaled, "0.12")


@pytest.mark.parametrize("kind", ["frobnicator", "deepseek_v4", ""])
def test_a_family_that_was_never_measured_is_never_said_to_fit(kind: str) -> None:
    config = {**PLAIN, "model_type": kind}
    plan = make_plan(model_of(config), PlanRequest(180.0, max_model_len=4096))
    assert plan.verdict is Fit.TIGHT
    assert "never measured" in plan.reason
    assert plan.weights.error_gib > 0.2 * plan.weights.gib


@pytest.mark.parametrize(
    ("name", "gpus", "why"),
    [
        ("meta-llama/Llama-3.1-8B", 3, "32 attention heads"),
        ("Qwen/Qwen3-14B", 5, "do not divide"),
        ("Qwen/Qwen2.5-7B-Instruct", 14, "4 heads of keys and values"),
    ],
)
def test_a_split_that_vllm_refuses_never_fits(name: str, gpus: int, why: str) -> None:
    asked = PlanRequest(80.0, tensor_parallel_size=gpus, max_model_len=4096)
    plan = make_plan(model_of(known_models()[name]), asked)
    assert plan.verdict is Fit.DOES_NOT_FIT
    assert why in plan.reason


def test_a_context_beyond_the_models_own_is_not_said_to_fit() -> None:
    asked = PlanRequest(80.0, max_model_len=65536)
    plan = make_plan(model_of(known_models()["meta-llama/Meta-Llama-3-8B"]), asked)
    assert plan.verdict is Fit.TIGHT
    assert "8192 tokens" in plan.reason


@pytest.mark.parametrize(
    ("left", "billions_in_16_bits"),
    [
        (["lm_head"], 0.0),
        (["lm_head", "re:.*self_attn.*"], 1.34),
        (["lm_head", *(f"model.layers.{i}.self_attn*" for i in range(32))], 1.34),
        (["lm_head", "model.layers.0.self_attn*"], 0.04),
        (["lm_head", "model.layers.0.mlp.shared_expert_gate"], 0.0),
        (["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*"], 2.15),
    ],
)
def test_what_a_checkpoint_leaves_unquantized_stays_in_16_bits(
    left: list[str], billions_in_16_bits: float
) -> None:
    moe = {
        **PLAIN,
        "model_type": "deepseek_v3",
        "n_routed_experts": 8,
        "n_shared_experts": 1,
        "moe_intermediate_size": 2048,
    }
    own = {"quant_method": "modelopt", "quant_algo": "NVFP4"}
    head = {**own, "ignore": ["lm_head"]}
    bare = counted(model_of({**moe, "quantization_config": head}), None, 1, 1).gib
    quantization = {**own, "ignore": left}
    whole = counted(model_of({**moe, "quantization_config": quantization}), None, 1, 1).gib
    more = (whole - bare) * GIB / (2 - 4.5 / 8) / 1e9
    assert more == pytest.approx(billions_in_16_bits, abs=0.02)


def test_an_omni_models_encoders_are_found_below_its_thinker() -> None:
    thinker = {
        "text_config": {**PLAIN, "model_type": "qwen2"},
        "vision_config": {"hidden_size": 1280, "depth": 32, "intermediate_size": 3420},
        "audio_config": {"d_model": 1280, "encoder_layers": 32, "encoder_ffn_dim": 5120},
    }
    model = model_of({"model_type": "qwen2_5_omni", "thinker_config": thinker})
    assert model.encodes
    assert model.encoder_parameters > 1e9


JUNK = [None, True, -1, 0, 3, 2.5, float("nan"), "", "auto", [], [1, "x"], [None], {}, {"a": 1}]
KEYS = sorted(
    {key for table in known_models().values() for key in table}
    | set(MAMBA)
    | {"attn_layer_offset", "linear_attn_config", "block_configs", "text_config", "rope_scaling"}
)


@given(st.dictionaries(st.sampled_from(KEYS), st.sampled_from(JUNK), max_size=4))
def test_a_config_with_nonsense_in_it_is_named_and_never_breaks(said: dict[str, Any]) -> None:
    try:
        model = model_of({**PLAIN, "model_type": "llama", **said})
        outcome = make_plan(model, PlanRequest(80.0)).verdict.value
    except NotAModelError as error:
        outcome = str(error)
    except UnknownQuantizationError as error:
        outcome = f"config.json: {error}"
    assert "config.json" in outcome or outcome in {fit.value for fit in Fit}
