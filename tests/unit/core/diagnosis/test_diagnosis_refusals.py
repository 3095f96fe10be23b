# SPDX-License-Identifier: Apache-2.0
"""What vLLM refuses in words that no list holds, and logs of which only a piece survived."""

# ruff: noqa: E501
from __future__ import annotations

import pytest

from agent.core.failures.classes import FailureClass, Outcome
from tests.given.engine_logs import DEATH_AT_START, SERVING, STARTING, diagnose, failed, v1

F = FailureClass

REFUSALS = {
    F.BAD_ARG_VALUE: (
        "ValueError: LoRA rank 64 is greater than max_lora_rank 16.",
        "RuntimeError: Worker failed with error 'LoRA rank 32 is greater than max_lora_rank 16.', please check the stack trace above for the root cause",
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for LoRAConfig\nmax_lora_rank\n  Input should be 8, 16 or 32 [type=literal_error, input_value=48, input_type=int]",
        "pydantic_core._pydantic_core.ValidationError: 2 validation errors for OddConfig",
    ),
    F.UNSUPPORTED_ARCH: (
        "ValueError: Architecture oddone not supported",
        "ValueError: GGUF model with architecture oddone is not supported yet.",
    ),
    F.QUANT_MISMATCH: (
        "AttributeError: MoE Model OddForCausalLM does not support BitsAndBytes quantization yet.",
        "AttributeError: Model OddForCausalLM does not support BitsAndBytes quantization yet. No 'packed_modules_mapping' found.",
    ),
    F.QUANT_UNSUPPORTED_DEVICE: (
        "AssertionError: No MXFP4 MoE backend (FlashInfer/Marlin/Triton) available.Please check your environment.",
        "RuntimeError: ('Quantization scheme is not supported for ', 'the current GPU. Min capability: 80. ', 'Current capability: 75.')",
    ),
    F.ATTN_BACKEND_UNSUPPORTED: (
        "NotImplementedError: FlashMLAImpl does not support one of the following: alibi_slopes, sliding_window",
        "ValueError: Attention backend 'XFORMERS' has been removed (See PR #1 for details).",
        "ValueError: Unsupported FA version: None",
    ),
    F.FP8_KERNEL_UNSUPPORTED: (
        "RuntimeError: Currently, block scaled fp8 gemm is not implemented for Blackwell",
        "NotImplementedError: No compiled cutlass_scaled_mm for a compute capability less than CUDA device capability: 75",
    ),
    F.WEIGHTS_MISMATCH: (
        "KeyError: 'lm_head.weight'",
        "KeyError: 'layers.11.mlp.down_proj.weight'",
    ),
    F.WEIGHTS_MISSING: (
        "FileNotFoundError: Weight files referenced in index but missing: {'/srv/m/layers-2.safetensors'}",
        "OSError: org/m does not appear to have files named ('model-00002-of-00050.safetensors',)",
    ),
    F.OOM_KV_NONE: (
        "Available KV cache memory: -0.49 GiB",
        "the rest of the memory reserved for KV Cache is -1.05GiB.",
    ),
    F.HOST_OOM_KILLED: (
        "VLLM::Worker_TP invoked oom-killer: gfp_mask=0x102cc2(GFP_HIGHUSER), order=0",
        "python3 invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE), order=0",
    ),
    F.TP_NOT_DIVISIBLE: (
        "AssertionError: local_world_size (4) must be less than or equal to the number of visible devices (2).",
        "AssertionError: DP adjusted local rank 4 is out of bounds.",
    ),
    F.OOM_FREE_MEM_STARTUP: (
        "ValueError: Free memory on device cuda:0 (3.5/23.5 GiB) on startup is less than the engine's budget after excluding external process's weights (0.9, 21.2 GiB).",
        "ValueError: Externally held weights on device cuda:0 (22.0/23.5 GiB) exceed the desired GPU memory utilization (0.9, 21.2 GiB).",
    ),
}
LINES = [(failure, line) for failure, lines in REFUSALS.items() for line in lines]


@pytest.mark.parametrize(("failure", "line"), LINES)
def test_a_refusal_is_known_in_a_whole_log_and_alone(failure: FailureClass, line: str) -> None:
    whole = diagnose(f"{STARTING}\n{failed(line)}{DEATH_AT_START}")
    alone = diagnose(line)
    assert (whole.failure, alone.failure) == (failure, failure)


@pytest.mark.parametrize("where", ["create_engine_config", "create_model_config", "__post_init__"])
def test_what_the_making_of_the_configuration_refuses_is_a_bad_value(where: str) -> None:
    trace = (
        'Traceback (most recent call last):\n  File "vllm/engine/arg_utils.py", line 9, in '
        f"{where}\nNotImplementedError: Odd things are not supported with odd models."
    )
    assert diagnose(v1(trace, process="APIServer pid=1")).failure is F.BAD_ARG_VALUE


def test_what_a_request_may_not_ask_is_no_bad_setting() -> None:
    log = (
        "ERROR:    Exception in ASGI application\nTraceback (most recent call last):\n"
        '  File "vllm/sampling_params.py", line 9, in __post_init__\nValueError: odd temperature'
    )
    assert diagnose(log).outcome is not Outcome.FAILED


def test_an_fp8_type_that_the_card_lacks_is_blamed_on_who_needed_it() -> None:
    lacks = "ValueError(\"type fp8e4nv not supported in this architecture. The supported fp8 dtypes are ('fp8e5',)\")"
    written = f"triton.compiler.errors.CompilationError: at 1:0:\ndef reshape_and_cache_kernel_flash(\n^\n{lacks}"
    assert diagnose(f"{STARTING}\n{failed(written)}").failure is F.KV_DTYPE_UNSUPPORTED
    assert diagnose(f"{STARTING}\n{failed(lacks)}").failure is F.FP8_KERNEL_UNSUPPORTED


def test_a_hub_that_is_away_while_the_configuration_is_made_stays_curable() -> None:
    trace = (
        'Traceback (most recent call last):\n  File "vllm/engine/arg_utils.py", line 9, in '
        "create_model_config\nOSError: We couldn't connect to 'https://hub.example' to load the "
        "files, and couldn't find them in the cached files."
    )
    found = diagnose(v1(trace, process="APIServer pid=1"))
    assert (found.failure, found.transient) == (F.HUB_UNREACHABLE, True)


@pytest.mark.parametrize(
    "piece",
    [
        v1("OddError: odd", process="Worker_TP0 pid=7", level="ERROR"),
        "    raise OddError(\nOddError: odd",
        "(Worker_TP0 pid=7) OddError: odd",
        v1("    raise ValueError(\nValueError: odd", process="Worker_TP0 pid=7", level="ERROR"),
        "RuntimeError: Worker failed with error 'odd', please check the stack trace above",
        '  File "vllm/odd.py", line 9, in odd\nException: odd things happen',
    ],
)
def test_an_unknown_exception_is_never_called_a_mere_death(piece: str) -> None:
    found = diagnose(f"{piece}\n{v1('EngineCore failed to start.', level='ERROR')}")
    assert (found.failure, found.transient) == (F.UNKNOWN, None)


@pytest.mark.parametrize(
    "source", ["serving_chat.py:251", "serving.py:908", "hermes_tool_parser.py:140"]
)
@pytest.mark.parametrize("error", ["OddError: odd", "httpx.ConnectError: no picture there"])
def test_one_bad_request_is_no_failure_of_the_engine(source: str, error: str) -> None:
    head = f"(APIServer pid=1) ERROR 11-21 03:05:45 [{source}] "
    piece = [head + "Traceback (most recent call last):", head + error]
    assert diagnose(piece).outcome is not Outcome.FAILED
    assert diagnose([*SERVING.split("\n"), *piece]).outcome is Outcome.READY


@pytest.mark.parametrize("escape", ["\x1b", "^[", "#033", "ESC", "\\u001b", "\\x1b"])
def test_colours_are_taken_out_however_they_are_spelled(escape: str) -> None:
    head = f"{escape}[1;36m(EngineCore_DP0 pid=43){escape}[0;0m ERROR 01-04 04:31:09 [core.py:844] "
    log = [
        head + "EngineCore failed to start.^M",
        head + "ValueError: No available memory for the cache blocks.^M",
    ]
    found = diagnose(log)
    assert found.failure is F.OOM_KV_NONE
    assert found.evidence[0].startswith("ValueError: ")
    assert not found.evidence[0].endswith("^M")


def test_a_profile_of_pictures_that_runs_out_of_memory_is_known_as_a_profile() -> None:
    log = (
        "WARNING 04-27 16:27:59 [profiling.py:245] The sequence length used for profiling (20000) is too short.\n"
        "ERROR 04-27 16:28:02 [engine.py:448] CUDA out of memory. Tried to allocate 800.00 MiB. GPU 0 has a total capacity of 15.56 GiB of which 442.62 MiB is free.\n"
    )
    assert diagnose(log).failure is F.OOM_PROFILE


@pytest.mark.parametrize(
    ("tried", "failure"),
    [
        (
            "HTTPSConnectionPool(host='hub.example', port=443): Max retries exceeded with url: /api/models/o/m",
            F.HUB_UNREACHABLE,
        ),
        (
            "429 Client Error: Too Many Requests for url: https://hub.example/api/models/o/m",
            F.HUB_RATE_LIMIT,
        ),
    ],
)
@pytest.mark.parametrize(
    "said",
    [
        "ValueError: No supported config format found in o/m",
        "ValueError: Invalid repository ID or local directory specified: 'o/m'.",
    ],
)
def test_a_model_that_the_hub_did_not_give_is_not_called_a_wrong_path(
    tried: str, failure: FailureClass, said: str
) -> None:
    retries = v1(f"Error retrieving file list: {tried}, retrying 1 of 2", level="ERROR")
    found = diagnose(f"{retries}\nTraceback (most recent call last):\n{said}")
    assert (found.failure, found.transient) == (failure, True)
    assert diagnose(f"Traceback (most recent call last):\n{said}").failure is F.MODEL_PATH


def test_a_cache_that_cannot_be_written_matters_only_where_nothing_comes_after_it() -> None:
    warning = "There was a problem when trying to write in your cache folder (/home/x/.cache/hub)."
    assert diagnose(warning).failure is F.CACHE_NOT_WRITABLE
    loading = "INFO 10-08 17:37:09 weight_utils.py:242] Starting to load model o/m..."
    assert diagnose(f"{warning}\n{loading}").outcome is Outcome.RUNNING


# --- what podman or docker says when it makes no container ------------------------------------

OCI = (
    "docker: Error response from daemon: failed to create task for container: OCI runtime create"
    " failed: runc create failed: error running hook #0: exit status 1, stdout: , stderr: Auto\n"
)


@pytest.mark.parametrize(
    ("said", "failure"),
    [
        (f"{OCI}nvidia-container-cli: initialization error: load library failed", F.CONTAINER_GPU),
        (f"{OCI}nvidia-container-cli: initialization error: nvml error: driver not", F.NO_GPU),
        (f"{OCI}nvidia-container-cli: device error: 3: unknown device: unknown", F.CONTAINER_GPU),
        (OCI, F.CONTAINER_REFUSED),
    ],
)
def test_the_hooks_own_words_outrank_those_of_the_runtime(said: str, failure: FailureClass) -> None:
    assert diagnose(said.replace("driver not", "driver not loaded: unknown")).failure is failure


@pytest.mark.parametrize(
    "line",
    [
        "INFO 11-12 10:00:00 [serving.py:1] image not known to the processor, using default",
        "(APIServer pid=1) WARNING could not find manifest unknown: skipped",
    ],
)
def test_vllms_own_words_about_images_are_no_missing_image(line: str) -> None:
    assert diagnose(line).failure is not F.IMAGE_MISSING
