# SPDX-License-Identifier: Apache-2.0
"""Every option of vLLM that moves memory is reckoned with, or makes the plan "not known"."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.command.options import KINDS
from agent.core.command.picture import picture_of_line
from agent.core.planner.asked.effects import (
    GRAPHS_ONLY,
    MOVES_A_LITTLE,
    NOT_RECKONED,
    ONLY_WITH,
    READ,
)
from agent.core.planner.asked.reading import Ground, mistakes_in, overridden, request_of
from agent.core.planner.asked.speculation import Draft
from agent.core.planner.model import Model, model_of
from agent.core.planner.plan import make_plan
from agent.core.planner.question import Fit, Plan, PlanRequest
from agent.core.planner.versions import version_of
from agent.host.models.known import known_models

LLAMA = model_of(known_models()["meta-llama/Llama-3.1-8B-Instruct"])
DRAFT = model_of(known_models()["meta-llama/Llama-3.2-1B-Instruct"])
MOE = model_of(known_models()["Qwen/Qwen3-30B-A3B"])
VISION = model_of(known_models()["Qwen/Qwen2.5-VL-7B-Instruct"])
MLA = model_of(known_models()["deepseek-ai/DeepSeek-V3"])
SPARSE = model_of(known_models()["deepseek-ai/DeepSeek-V3.2"])
GIB = 2**30


def plan(
    line: str,
    model: Model = LLAMA,
    gib: float = 79.2,
    *,
    version: str | None = None,
    capability: tuple[int, int] | None = None,
    draft: Draft | None = None,
) -> Plan:
    picture = picture_of_line(["m", *shlex.split(line)])
    request = PlanRequest(gib, version_of(version))
    return make_plan(model, request_of(picture, model, Ground(request, capability, draft)))


def term(plan: Plan, name: str) -> float:
    return next(item.term.gib for item in plan.request.asked.beside if item.name == name)


@pytest.mark.parametrize(
    "line",
    [
        "--max-cudagraph-capture-size 4",
        """--compilation-config '{"max_cudagraph_capture_size": 4}'""",
        """--compilation-config '{"cudagraph_capture_sizes": [1, 2, 4]}'""",
    ],
)
def test_fewer_captured_sizes_leave_more_for_the_cache(line: str) -> None:
    few = plan(line)
    assert few.cuda_graphs.how.startswith("6 graphs")
    assert few.available_kv_gib > plan("").available_kv_gib + 0.3


def test_recurrent_states_have_the_size_that_is_asked_for() -> None:
    hybrid = model_of(known_models()["nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16"])
    small, wide = (
        plan(f"--mamba-ssm-cache-dtype {word}", hybrid, 79.2) for word in ("float16", "float32")
    )
    assert small.kv.block_tokens < wide.kv.block_tokens
    assert wide.kv.block_tokens == plan("", hybrid, 79.2).kv.block_tokens


def test_widened_latents_are_set_aside_as_many_as_are_asked_for() -> None:
    line = "--max-model-len 131072 -tp 8"
    usual = plan(line, SPARSE, 139.8).activation.gib
    few = plan(f"{line} -ac.sparse_mla_prefill_workspace_factor=2", SPARSE, 139.8).activation.gib
    assert usual - few == pytest.approx(3 * 576 * 2 * 131072 / GIB)


@pytest.mark.parametrize(
    "key", ["indexer_kv_dtype=mxfp4", "use_fp4_indexer_cache=true", "hisparse_config.device=2"]
)
def test_another_cache_of_a_sparse_indexer_is_not_known(key: str) -> None:
    line = f"-tp 8 -ac.{key}"
    asked = plan(line, SPARSE, 139.8)
    assert asked.verdict is Fit.NOT_KNOWN
    assert key.partition("=")[0].partition(".")[0] in asked.reason
    # Models without an indexer keep none.
    assert plan(line, MLA, 139.8).verdict is not Fit.NOT_KNOWN
    usual = plan("-tp 8 -ac.indexer_kv_dtype=fp8", SPARSE, 139.8)
    assert usual.verdict is not Fit.NOT_KNOWN


def test_an_encoder_that_is_not_split_stands_whole_on_each_gpu() -> None:
    split = plan("--tensor-parallel-size 2", VISION)
    whole = plan("--tensor-parallel-size 2 --mm-encoder-tp-mode data", VISION)
    encoder_gib = VISION.encoder_parameters * 2 / GIB
    assert whole.weights.gib - split.weights.gib == pytest.approx(encoder_gib / 2, rel=0.01)
    assert plan("--mm-encoder-tp-mode data", VISION).weights == plan("", VISION).weights


def test_the_same_option_in_any_spelling_makes_the_same_plan() -> None:
    one = plan("--tensor-parallel-size 2 --max-model-len 32768 --kv-cache-dtype fp8")
    assert plan("-tp=2 --max_model_len 32K --kv_cache_dtype=fp8") == one


def test_auto_takes_the_longest_context_that_fits() -> None:
    found = plan("--max-model-len auto", gib=23.5)
    assert found.verdict is Fit.FITS
    assert "a context of about" in found.reason
    assert found.max_model_len == found.largest_max_model_len < LLAMA.max_position
    assert plan("--max-model-len -1", gib=23.5) == found
    assert plan("--max-model-len auto").max_model_len == LLAMA.max_position


def test_room_for_adapters_is_taken_whole_at_the_start() -> None:
    # Matrices of one rank: 32 layers x (q, k, v, o, gate, up, down), embeddings and output head.
    layer = 3 * 4096 + 4096 + 2048 + 2 * 4096 + 2 * (4096 + 14336) + 14336 + 4096
    each = 32 * layer + 2 * (128256 + 4096)
    found = plan("--enable-lora --max-loras 8 --max-lora-rank 256")
    assert term(found, "lora") == pytest.approx(8 * 256 * each * 2 / GIB)
    assert term(plan("--enable-lora"), "lora") == pytest.approx(16 * each * 2 / GIB)
    assert plan("").available_kv_gib - found.available_kv_gib == pytest.approx(term(found, "lora"))
    split = term(plan("--enable-lora -tp 4"), "lora")
    sharded = term(plan("--enable-lora -tp 4 --fully-sharded-loras"), "lora")
    assert sharded < split < term(plan("--enable-lora"), "lora")
    assert not plan("--max-loras 8 --max-lora-rank 256").request.asked.beside


def test_a_drafter_brings_its_weights_and_its_cache() -> None:
    line = '--speculative-config \'{"model": "x/y", "num_speculative_tokens": 5}\''
    found = plan(line, draft=Draft(DRAFT))
    assert term(found, "drafter") == pytest.approx(2.32, abs=0.3)
    one = plan("").kv.bytes_per_token
    assert found.kv.bytes_per_token == one + 16 * 8 * 64 * 2 * 2
    assert term(plan(line, draft=Draft(DRAFT, files_gib=7.0)), "drafter") == 7.0
    unknown = plan(line)
    assert unknown.verdict is Fit.NOT_KNOWN
    assert "config.json of x/y is not known" in unknown.reason


def test_mtp_adds_a_layer_of_the_models_own() -> None:
    found = plan("-sc.method mtp -sc.num_speculative_tokens 1", MLA, 141.0)
    layers = len(MLA.layers)
    ratio = found.kv.bytes_per_token / plan("", MLA, 141.0).kv.bytes_per_token
    assert ratio == pytest.approx((layers + 1) / layers)
    # One layer of 256 experts of three matrices of 7168 x 2048 in FP8, and its attention.
    assert term(found, "drafter") == pytest.approx(256 * 3 * 7168 * 2048 / GIB, rel=0.1)


@pytest.mark.parametrize("method", ["ngram", "suffix"])
def test_drafting_from_the_prompt_takes_no_memory(method: str) -> None:
    found = plan(f"--speculative-config.method {method}")
    assert found.available_kv_gib == plan("").available_kv_gib
    assert found.verdict is plan("").verdict


def test_replicas_share_the_experts_of_a_mixture_and_nothing_of_a_dense_model() -> None:
    whole, shared = plan("", MOE).weights.gib, plan("-dp 4 -ep", MOE).weights.gib
    assert 0.25 * whole < shared < 0.35 * whole
    assert plan("-dp 4").weights.gib == plan("").weights.gib
    both = plan("-dp 2 -tp 2 -ep", MOE).weights.gib
    assert both < plan("-tp 2", MOE).weights.gib


def test_decode_context_parallelism_spreads_the_tokens_of_a_request() -> None:
    line = "-tp 8 --max-model-len 8192 --gpu-memory-utilization 0.95"
    one, spread = plan(line, MLA, 141.0), plan(f"{line} -dcp 8", MLA, 141.0)
    assert spread.kv.bytes_per_token == one.kv.bytes_per_token / 8
    assert spread.max_concurrency == pytest.approx(8 * one.max_concurrency, rel=0.02)
    assert "does not divide" in plan("-tp 8 -dcp 3", MLA, 141.0).reason
    refused = plan("-tp 8 -dcp 4")
    assert refused.verdict is Fit.DOES_NOT_FIT
    assert "copies that 8 GPUs keep of 8 heads" in refused.reason


@pytest.mark.parametrize("version", ["0.11.0", "0.13.0", "0.30.0"])
def test_the_tokens_of_a_split_context_are_those_of_all_its_gpus(version: str) -> None:
    # Kimi-K2-Thinking on eight H200 printed 715,072 tokens, and 5,721,088 with -dcp 8.
    line = "-tp 8 --max-model-len 8192 --gpu-memory-utilization 0.95"
    one = plan(line, MLA, 141.0, version=version)
    spread = plan(f"{line} -dcp 8", MLA, 141.0, version=version)
    assert spread.kv_tokens == pytest.approx(8 * one.kv_tokens, rel=0.02)


@pytest.mark.parametrize(
    "line",
    ["--language-model-only", '--limit-mm-per-prompt \'{"image": 0, "video": 0}\''],
)
def test_without_images_neither_encoder_nor_its_profile_is_there(line: str) -> None:
    whole, text = plan("", VISION), plan(line, VISION)
    assert text.weights.gib < whole.weights.gib - 1.0
    assert text.activation.gib <= whole.activation.gib
    assert text.available_kv_gib > whole.available_kv_gib + 1.0
    counted = replace(VISION, encodes=False, encoder_parameters=0, encoder=None)
    assert text.weights.gib == pytest.approx(plan("", counted).weights.gib)


def test_limits_that_leave_one_kind_of_media_leave_the_encoder() -> None:
    assert plan("--limit-mm-per-prompt.video 0", VISION).weights == plan("", VISION).weights


def test_weights_on_the_host_leave_the_gpu_and_take_the_hosts_memory() -> None:
    found = plan("--cpu-offload-gb 5 -tp 2")
    assert found.weights.gib == pytest.approx(plan("-tp 2").weights.gib - 5)
    (host,) = found.request.asked.host
    assert (host.name, host.term.gib) == ("cpu_offload", 10)
    (cache,) = plan("--kv-offloading-size 64").request.asked.host
    assert (cache.name, cache.term.gib) == ("kv_offload", 64)


def test_blocks_given_by_number_or_size_are_counted_so() -> None:
    found = plan("--num-gpu-blocks-override 1000")
    assert found.kv_tokens == 16_000
    assert plan("--block-size 32 --num-gpu-blocks-override 1000").kv_tokens == 32_000


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ('--kv-transfer-config \'{"kv_connector": "NixlConnector"}\'', "--kv-transfer-config"),
        ("--enable-eplb", "--enable-eplb"),
        ("--offload-group-size 8", "--offload-group-size"),
        ("--quantum-entanglement", "--quantum-entanglement: no known vLLM has it"),
        ("--kv-cache-dtype turboquant_k8v4", "kv_cache_dtype turboquant_k8v4"),
        ("--compilation-config '{\"new_thing\": 1}'", "new_thing"),
        ("--runner draft", "--runner draft makes another kind of model of it"),
        ("--convert mm_encoder_only", "--convert mm_encoder_only"),
        ("--speculative-config.method mlp_speculator", "mlp_speculator"),
        ("-pcp 2", "-pcp"),
        ("--hf-overrides some.function", "--hf-overrides some.function"),
        ("--max-num-seqs many", "'many' is not a whole number"),
        ("--config /nowhere.yaml", "the file was not read"),
    ],
)
def test_what_is_not_reckoned_with_makes_the_plan_not_known_by_its_name(
    line: str, name: str
) -> None:
    found = plan(line)
    assert found.verdict is Fit.NOT_KNOWN
    assert name in found.reason


@pytest.mark.parametrize("line", ["--runner pooling", "--convert embed", "--convert classify"])
def test_a_model_that_is_pooled_has_no_head_and_samples_nothing(line: str) -> None:
    whole, pooled = plan(""), plan(line)
    head = 128_256 * 4096 * 2 / GIB
    assert pooled.verdict is Fit.FITS
    assert pooled.weights.gib == pytest.approx(whole.weights.gib - head, abs=0.01)
    assert pooled.cuda_graphs.gib < whole.cuda_graphs.gib
    assert "pooled, no sampler" in pooled.activation.how


def test_a_variable_that_moves_memory_is_not_passed_over() -> None:
    for value, verdict in (("10,22", Fit.NOT_KNOWN), ("", Fit.FITS)):
        picture = picture_of_line(["m"], {"VLLM_PP_LAYER_PARTITION": value})
        request = request_of(picture, LLAMA, Ground(PlanRequest(79.2)))
        assert make_plan(LLAMA, request).verdict is verdict


@pytest.mark.parametrize(
    "line",
    [
        "--no-enable-eplb",
        "--runner auto",
        "--convert none",
        "-pcp 1",
        "--seed 1 --served-model-name a b --tool-call-parser hermes --enable-log-requests",
        "--mamba-ssm-cache-dtype float32",
        "--middleware x --ssl-keyfile /k --no-enable-lora",
    ],
)
def test_what_moves_no_memory_changes_nothing(line: str) -> None:
    found = plan(line)
    assert found.available_kv_gib == plan("").available_kv_gib
    assert found.verdict is Fit.FITS


def test_an_option_that_moves_work_spaces_widens_the_bar() -> None:
    found = plan("--attention-backend FLASHINFER")
    assert found.available_kv_gib == plan("").available_kv_gib
    assert found.error_gib > plan("").error_gib


@given(st.sampled_from(sorted(KINDS)))
def test_every_option_is_read_named_or_moves_nothing(name: str) -> None:
    lists = [READ, NOT_RECKONED.keys(), ONLY_WITH.keys(), MOVES_A_LITTLE.keys()]
    assert sum(name in one for one in lists) <= 1


def test_the_lists_hold_options_of_vllm_only() -> None:
    named = {*READ, *NOT_RECKONED, *ONLY_WITH, *MOVES_A_LITTLE}
    assert named <= KINDS.keys()
    assert "cudagraph_mode" in GRAPHS_ONLY


@pytest.mark.parametrize(
    ("line", "capability", "version", "said"),
    [
        ("--kv-cache-dtype fp8", (7, 5), None, "reads no KV cache in fp8"),
        ("--kv-cache-dtype nvfp4", (7, 5), None, "reads no KV cache in nvfp4"),
        ("--dtype bfloat16", (7, 5), None, "has no bfloat16"),
        ("--quantization fp8", (7, 5), "0.16", "runs no fp8 weights"),
        ("", (7, 0), None, "older than what vLLM is built for"),
        ("--kv-cache-dtype fp8", (8, 6), None, ""),
        ("--quantization fp8", (7, 5), "0.33", ""),
        ("", (7, 0), "0.19", ""),
        ("--kv-cache-dtype fp8", None, None, ""),
    ],
)
def test_what_a_card_cannot_compute_is_refused(
    line: str, capability: tuple[int, int] | None, version: str | None, said: str
) -> None:
    found = plan(f"{line} --max-model-len 4096", capability=capability, version=version)
    if said:
        assert found.verdict is Fit.DOES_NOT_FIT
        assert said in found.reason
    else:
        assert found.verdict is Fit.FITS


def test_a_method_that_needs_its_own_checkpoint_is_refused_without_one() -> None:
    for method in ("awq", "gptq_marlin", "nvfp4"):
        found = plan(f"--quantization {method}")
        assert found.verdict is Fit.DOES_NOT_FIT
        assert "checkpoint is not quantized" in found.reason
    assert plan("--quantization fp8").verdict is Fit.FITS
    assert plan("--quantization bitsandbytes").verdict is Fit.FITS
    awq = replace(LLAMA, quantization_config={"quant_method": "awq"})
    assert plan("--quantization awq", awq).verdict is Fit.FITS


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--kv-cache-dtype fp7", "did you mean fp8?"),
        ("--dtype bf16", "vLLM has auto, half"),
        ("--gpu-memory-utilization 90", "it is a share: 0.9"),
        ("--gpu-memory-utilization 0", "is not above 0"),
        ("--max-model-len -5", "neither above 0 nor -1"),
        ("-tp 0", "--tensor-parallel-size 0 is not above 0"),
        ("--cpu-offload-gb -1", "is below 0"),
    ],
)
def test_a_value_that_makes_no_plan_is_one_sentence(line: str, said: str) -> None:
    (mistake,) = mistakes_in(picture_of_line(["m", *line.split()]))
    assert said in mistake


def test_overrides_of_the_models_config_are_planned_with() -> None:
    config = {"max_position_embeddings": 8192, "rope_scaling": {"factor": 1.0, "type": "yarn"}}
    line = [
        "m",
        "--hf-overrides",
        '{"max_position_embeddings": 9000, "rope_scaling": {"factor": 4}}',
    ]
    assert overridden(config, picture_of_line(line)) == {
        "max_position_embeddings": 9000,
        "rope_scaling": {"factor": 4, "type": "yarn"},
    }
    assert overridden(config, picture_of_line(["m"])) is config
