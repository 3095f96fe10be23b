# SPDX-License-Identifier: Apache-2.0
"""Failures that look alike and have different remedies are kept apart, in pairs."""

# ruff: noqa: E501
from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.failures.classes import FailureClass, Kind
from agent.core.failures.meaning import kind_of
from tests.given.engine_logs import (
    CAPTURING,
    DEATH_AT_START,
    LOADING,
    PROFILING,
    SERVING,
    STARTING,
    diagnose,
    failed,
    v1,
)

F = FailureClass
ALLOCATION = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 64.00 MiB."
CONTEXT = "RuntimeError: CUDA error: out of memory"
DIED = "EngineCore encountered a fatal error.\nTraceback (most recent call last):\n"
LAST_LINE = (
    "OSError: We couldn't connect to 'https://hub.example' to load the files, and couldn't find "
    "them in the cached files."
)


def chained(*errors: str) -> str:
    """Return a traceback in which each error was the cause of the next."""
    between = "\n\nThe above exception was the direct cause of the following exception:\n\n"
    return between.join(f"Traceback (most recent call last):\n{error}" for error in errors)


PAIRS = {
    # --- the hub: one status, one last line, several meanings ---------------------------------
    "gated, not unauthorized": (
        chained(
            "requests.exceptions.HTTPError: 401 Client Error: Unauthorized for url: https://hub.example/o/m/resolve/main/config.json",
            "huggingface_hub.errors.GatedRepoError: 401 Client Error. (Request ID: Root=1)",
            "OSError: You are trying to access a gated repo.",
        ),
        F.GATED_REPO,
    ),
    "a wrong name, not gated": (
        chained(
            "requests.exceptions.HTTPError: 401 Client Error: Unauthorized for url: https://hub.example/o/m/resolve/main/config.json",
            "huggingface_hub.errors.RepositoryNotFoundError: 401 Client Error. (Request ID: Root=1)\nInvalid username or password.",
            "OSError: o/m is not a local folder and is not a valid model identifier listed on 'https://hub.example/models'",
        ),
        F.REPO_NOT_FOUND,
    ),
    "a bad token, not a wrong name": (
        chained(
            'requests.exceptions.HTTPError: 401 Client Error: Unauthorized for url: https://hub.example/o/m\nUser Access Token "t" is expired',
            LAST_LINE,
        ),
        F.HUB_AUTH,
    ),
    "unreachable, not rate limited": (
        chained("httpx.ConnectError: [Errno -2] Name or service not known", LAST_LINE),
        F.HUB_UNREACHABLE,
    ),
    "rate limited, not unreachable": (
        chained(
            "requests.exceptions.HTTPError: 429 Client Error: Too Many Requests for url: https://hub.example/o/m",
            LAST_LINE,
        ),
        F.HUB_RATE_LIMIT,
    ),
    "offline by choice, not unreachable": (
        chained(
            "huggingface_hub.errors.OfflineModeIsEnabled: Cannot reach https://hub.example: offline mode is enabled.",
            LAST_LINE,
        ),
        F.HUB_OFFLINE,
    ),
    # --- memory: the phase decides ------------------------------------------------------------
    "weights": (f"{LOADING}\n{failed(ALLOCATION)}{DEATH_AT_START}", F.OOM_WEIGHTS_LOAD),
    "profile": (f"{PROFILING}\n{failed(ALLOCATION)}{DEATH_AT_START}", F.OOM_PROFILE),
    "capture": (f"{CAPTURING}\n{failed(ALLOCATION)}{DEATH_AT_START}", F.OOM_GRAPH_CAPTURE),
    "serving": (f"{SERVING}\n{v1(DIED + ALLOCATION, level='ERROR')}", F.OOM_RUNTIME),
    "serving, with a compiler's frames": (
        f"{SERVING}\n{v1(DIED + 'torch._inductor.exc.InductorError: ' + ALLOCATION, level='ERROR')}",
        F.OOM_RUNTIME,
    ),
    "serving, told by the wrapper alone": (v1(DIED + ALLOCATION, level="ERROR"), F.OOM_RUNTIME),
    "the context did not fit": (f"{STARTING}\n{failed(CONTEXT)}", F.OOM_FREE_MEM_STARTUP),
    "the context's words, while capturing": (f"{CAPTURING}\n{failed(CONTEXT)}", F.OOM_GRAPH_CAPTURE),
    "capturing, told by a frame": (
        failed(f'  File "torch/cuda/graphs.py", line 84, in capture_end\n{CONTEXT}'),
        F.OOM_GRAPH_CAPTURE,
    ),
    "no block at all": (
        failed("ValueError: No available memory for the cache blocks. Try increasing it."),
        F.OOM_KV_NONE,
    ),
    "blocks, but too few for one request": (
        failed("ValueError: The model's max seq len (8192) is larger than the maximum number of tokens that can be stored in KV cache (5264)."),
        F.OOM_KV_TOO_SMALL_FOR_MAXLEN,
    ),
    "a neighbour let go": (
        failed("AssertionError: Error in memory profiling. Initial free memory 7.55 GiB, current free memory 8.31 GiB."),
        F.MEM_PROFILING_RACE,
    ),
    "a neighbour holds on": (
        failed("ValueError: Free memory on device cuda:0 (7.55/23.53 GiB) on startup is less than desired GPU memory utilization (0.9, 21.18 GiB)."),
        F.OOM_FREE_MEM_STARTUP,
    ),
    # --- gone: killed by the kernel, by somebody, or asked ------------------------------------
    "the kernel killed it": (
        f"{SERVING}\nOut of memory: Killed process 4711 (VLLM::EngineCor) total-vm:1kB, anon-rss:2kB\n"
        "Engine core proc EngineCore_DP0 died unexpectedly, shutting down client.",
        F.HOST_OOM_KILLED,
    ),
    "nobody knows who": (
        f"{SERVING}\nEngine core proc EngineCore_DP0 died unexpectedly, shutting down client.",
        F.ENGINE_DEAD,
    ),
    "asked to stop": (
        f"{SERVING}\n[shutdown] API server: shutdown triggered\nINFO:     Shutting down",
        F.SHUTDOWN_SIGTERM,
    ),
    # --- the driver ---------------------------------------------------------------------------
    "802": ("RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 802: system not yet initialized", F.CUDA_NOT_INITIALIZED_802),
    "803": ("RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 803: system has unsupported display driver / cuda driver combination", F.NVML_MISMATCH),
    "804": ("RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 804: forward compatibility was attempted on non supported HW", F.DRIVER_TOO_OLD),
    "100": ("RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 100: no CUDA-capable device is detected", F.NO_GPU),
    "999": ("RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 999: unknown error", F.CUDA_UNKNOWN),
    "2": ("RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 2: out of memory", F.OOM_FREE_MEM_STARTUP),
    "a driver that is too old, though no GPU is found then": (
        "UserWarning: CUDA initialization: The NVIDIA driver on your system is too old (found version 12020).\n"
        "RuntimeError: Failed to infer device type",
        F.DRIVER_TOO_OLD,
    ),
    "a mismatch, though no GPU is found then": (
        "pynvml.NVMLError_LibRmVersionMismatch: RM has detected an NVML/RM version mismatch.\n"
        "RuntimeError: Failed to infer device type",
        F.NVML_MISMATCH,
    ),
    # --- files and configuration --------------------------------------------------------------
    "no model there": ("OSError: /srv/m does not appear to have a file named config.json.", F.MODEL_PATH),
    "no weights there": ("OSError: /srv/m does not appear to have a file named pytorch_model.bin.", F.WEIGHTS_MISSING),
    "broken weights": ("safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge", F.WEIGHTS_CORRUPT),
    "other weights": ("RuntimeError: start (0) + length (640) exceeds dimension size (512).", F.WEIGHTS_MISMATCH),
    "a flag that never was": ("vllm: error: unrecognized arguments: --gpu-memory-utilisation 0.9", F.UNKNOWN_ARG),
    "a flag that is gone": ("vllm: error: unrecognized arguments: --swap-space 4", F.REMOVED_FLAG),
    "a flag with a bad value": ("vllm: error: argument --dtype: invalid choice: 'fp17'", F.BAD_ARG_VALUE),
    "a format that the checkpoint has not": (
        "ValueError: Quantization method specified in the model config (gptq) does not match the quantization method specified in the `quantization` argument (awq).",
        F.QUANT_MISMATCH,
    ),
    "a format that the card has not": (
        "ValueError: The quantization method fp8 is not supported for the current GPU. Minimum capability: 89. Current capability: 80.",
        F.QUANT_UNSUPPORTED_DEVICE,
    ),
    "code that is to be trusted": (
        "RuntimeError: Failed to load the tokenizer. If it is a custom one, consider setting `trust_remote_code=True` in LLM.",
        F.TRUST_REMOTE_CODE,
    ),
    "a tokenizer that is not there": ("ValueError: Either model_file or model_proto must be specified.", F.TOKENIZER_MISSING),
    # --- full: the disk, or what only looks like one ------------------------------------------
    "a full disk": ("OSError: [Errno 28] No space left on device", F.DISK_FULL),
    "a full /dev/shm, told by NCCL": (
        "gpu-1:99:99 [0] shmutils.cc:129 NCCL WARN Error while creating shared memory segment /dev/shm/nccl-a (size 33), error: No space left on device (28)\n"
        "torch.distributed.DistBackendError: NCCL error in: x.cpp:77, unhandled system error",
        F.SHM_TOO_SMALL,
    ),
    # --- between GPUs -------------------------------------------------------------------------
    "a collective that failed": ("RuntimeError: NCCL error: unhandled cuda error", F.NCCL_ERROR),
    "a collective that never ended": ("Watchdog caught collective operation timeout: WorkNCCL(SeqNum=1)", F.NCCL_TIMEOUT),
    "two ranks on one GPU": (
        "torch.distributed.DistBackendError: NCCL error in: x.cpp:77, invalid usage\nDuplicate GPU detected : rank 1 and rank 0 both on CUDA device 50000",
        F.TP_NOT_DIVISIBLE,
    ),
    "our port": ("OSError: [Errno 98] Address already in use", F.PORT_IN_USE),
    "not our port": (
        f"{SERVING}\nhost:5:5 [0] ras/client_support.cc:160 NCCL WARN Call to bind failed: Address already in use",
        None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_look_alikes_are_kept_apart(name: str) -> None:
    text, failure = PAIRS[name]
    assert diagnose(text).failure is failure


def test_the_pairs_tell_curable_from_incurable() -> None:
    kinds = {kind_of(failure) for _, failure in PAIRS.values() if failure is not None}
    assert kinds == set(Kind)


@pytest.mark.parametrize("line", [ALLOCATION, CONTEXT])
def test_an_allocation_of_which_no_phase_is_known_is_not_called_incurable(line: str) -> None:
    assert diagnose(line).transient is None
    assert diagnose(f"{LOADING}\n{failed(line)}").transient is False


def rank(number: int, *lines: str) -> list[str]:
    head = f"(Worker_TP{number} pid={number}) ERROR 05-01 12:00:00 [multiproc_executor.py:9] "
    return [head + line for line in ("Traceback (most recent call last):", *lines)]


@given(st.randoms(use_true_random=False))
def test_what_one_rank_died_of_is_told_from_what_its_peers_then_say(chance: random.Random) -> None:
    dying = rank(1, '  File "gpu_worker.py", line 3, in load_model', ALLOCATION)
    peer = rank(0, "RuntimeError: NCCL error: remote process exited or there was a network error")
    mixed: list[str] = []
    while dying or peer:
        mixed.append((dying if not peer or (dying and chance.random() < 0.5) else peer).pop(0))
    found = diagnose([*mixed, *DEATH_AT_START.strip().split("\n")])
    assert found.failure is F.OOM_WEIGHTS_LOAD
    assert F.NCCL_ERROR in found.also


def test_the_cluster_that_cannot_reach_a_starting_server_says_nothing_of_the_hub() -> None:
    probe = (
        "Readiness probe failed: HTTPConnectionPool(host='10.0.0.7', port=8000): Max retries "
        "exceeded with url: /health (Caused by NewConnectionError('[Errno 111] Connection refused'))"
    )
    assert diagnose(f"{LOADING}\n{probe}").failure is None
