# SPDX-License-Identifier: Apache-2.0
"""Transcripts: what the log of a run says of its end: look-alikes, wrappers, healthy runs."""

from __future__ import annotations

import pytest

from agent.core.failures import EnginePhase, FailureClass, Outcome
from tests.unit.engine_logs import (
    ALLOCATION,
    CAPTURING,
    DEATH_AT_START,
    LOADING,
    PROFILING,
    SERVING,
    STARTING,
    WARMING,
    diagnose,
    v1,
)

F = FailureClass


def failed(text: str) -> str:
    """Return the log of an engine that died at start with this exception."""
    return v1(
        f"EngineCore failed to start.\nTraceback (most recent call last):\n{text}", level="ERROR"
    )


# --- look-alikes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "failure", "phase"),
    [
        (LOADING, F.OOM_WEIGHTS_LOAD, EnginePhase.LOADING),
        (PROFILING, F.OOM_PROFILE, EnginePhase.PROFILING),
        (WARMING, F.OOM_GRAPH_CAPTURE, EnginePhase.WARMING_UP),
        (CAPTURING, F.OOM_GRAPH_CAPTURE, EnginePhase.CAPTURING),
    ],
)
def test_the_phase_decides_what_out_of_memory_means(
    before: str, failure: FailureClass, phase: EnginePhase
) -> None:
    found = diagnose(f"{before}\n{failed(ALLOCATION)}{DEATH_AT_START}")
    assert (found.failure, found.phase, found.outcome) == (failure, phase, Outcome.FAILED)
    assert found.numbers.tried_gib == 0.5
    assert found.numbers.free_gib == 0.25
    assert found.numbers.total_gib == 23.53


def test_out_of_memory_while_serving_is_a_run_time_failure() -> None:
    died = v1(
        f"EngineCore encountered a fatal error.\nTraceback (most recent call last):\n{ALLOCATION}",
        level="ERROR",
    )
    found = diagnose(f"{SERVING}\n{died}")
    assert found.failure is F.OOM_RUNTIME
    assert found.transient is True


@pytest.mark.parametrize(
    ("frame", "failure"),
    [
        ("load_model", F.OOM_WEIGHTS_LOAD),
        ("process_weights_after_loading", F.OOM_WEIGHTS_LOAD),
        ("profile_run", F.OOM_PROFILE),
        ("determine_num_available_blocks", F.OOM_PROFILE),
        ("capture_model", F.OOM_GRAPH_CAPTURE),
        ("_dummy_sampler_run", F.OOM_SAMPLER_WARMUP),
        ("run_engine_loop", F.OOM_RUNTIME),
    ],
)
def test_a_traceback_without_its_log_still_tells_the_phase(
    frame: str, failure: FailureClass
) -> None:
    text = f'Traceback (most recent call last):\n  File "x.py", line 9, in {frame}\n{ALLOCATION}'
    assert diagnose(text).failure is failure


def test_the_frames_of_the_dying_rank_win_over_the_phase_of_another() -> None:
    slow_rank = "\n".join(
        [
            PROFILING,
            "(Worker_TP0 pid=7) INFO 11-21 03:05:50 [gpu_worker.py:1] Available KV cache memory: "
            "4.60 GiB",
            "(Worker_TP1 pid=8) ERROR 11-21 03:05:51 [multiproc_executor.py:1] WorkerProc failed "
            "to start.",
            "(Worker_TP1 pid=8) ERROR 11-21 03:05:51 [multiproc_executor.py:1] Traceback (most "
            "recent call last):",
            '(Worker_TP1 pid=8) ERROR 11-21 03:05:51 [multiproc_executor.py:1]   File "x.py", line '
            "3, in load_model",
            f"(Worker_TP1 pid=8) ERROR 11-21 03:05:51 [multiproc_executor.py:1] {ALLOCATION}",
        ]
    )
    assert diagnose(slow_rank).failure is F.OOM_WEIGHTS_LOAD


def test_too_little_free_memory_and_none_left_for_the_cache_are_opposites() -> None:
    lower = diagnose(
        failed(
            "ValueError: Free memory on device cuda:0 (3.52/23.53 GiB) on startup is less than "
            "desired GPU memory utilization (0.92, 21.65 GiB). Decrease GPU memory utilization."
        )
    )
    assert lower.failure is F.OOM_FREE_MEM_STARTUP
    assert (lower.numbers.free_gib, lower.numbers.total_gib) == (3.52, 23.53)
    assert (lower.numbers.utilization, lower.numbers.wanted_gib) == (0.92, 21.65)
    assert lower.transient is None
    higher = diagnose(
        PROFILING
        + "\n"
        + v1("Available KV cache memory: -1.25 GiB")
        + "\n"
        + failed(
            "ValueError: No available memory for the cache blocks. Try increasing "
            "`gpu_memory_utilization` when initializing the engine."
        )
    )
    assert higher.failure is F.OOM_KV_NONE
    assert higher.numbers.available_kv_gib == -1.25
    assert higher.numbers.utilization == 0.9
    assert higher.transient is False


@pytest.mark.parametrize("model", ["model's", "models's"])
def test_a_cache_below_one_request_gives_its_numbers(model: str) -> None:
    found = diagnose(
        failed(
            f"ValueError: To serve at least one request with the {model} max seq len (131072), "
            "(16.0 GiB KV cache is needed, which is larger than the available KV cache memory "
            "(4.19 GiB). Based on the available memory, the estimated maximum model length is "
            "34304. Try increasing `gpu_memory_utilization` or decreasing `max_model_len`."
        )
    )
    assert found.failure is F.OOM_KV_TOO_SMALL_FOR_MAXLEN
    assert found.numbers.needed_kv_gib == 16.0
    assert found.numbers.available_kv_gib == 4.19
    assert found.numbers.estimated_max_model_len == 34304
    assert found.numbers.max_model_len == 131072


def test_a_full_shared_memory_is_no_full_disk() -> None:
    disk = failed("OSError: [Errno 28] No space left on device")
    assert diagnose(disk).failure is F.DISK_FULL
    shm = failed(
        '  File "multiprocessing/shared_memory.py", line 104, in __init__\n'
        "OSError: [Errno 28] No space left on device"
    )
    assert diagnose(shm).failure is F.SHM_TOO_SMALL


@pytest.mark.parametrize(
    ("inner", "failure"),
    [
        ("huggingface_hub.errors.HfHubHTTPError: 429 Client Error: Too Many Requests for url: "
         "https://huggingface.co/o/m/resolve/main/config.json", F.HUB_RATE_LIMIT),
        ("requests.exceptions.HTTPError: 503 Server Error: Service Unavailable for url: "
         "https://huggingface.co/o/m/resolve/main/config.json", F.HUB_UNREACHABLE),
        ("httpx.ConnectError: [Errno -3] Temporary failure in name resolution", F.HUB_UNREACHABLE),
    ],
)  # fmt: skip
def test_one_last_line_of_the_hub_has_several_causes(inner: str, failure: FailureClass) -> None:
    found = diagnose(
        "Traceback (most recent call last):\n"
        f"{inner}\n\n"
        "The above exception was the direct cause of the following exception:\n\n"
        "Traceback (most recent call last):\n"
        "OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't "
        "find them in the cached files."
    )
    assert found.failure is failure
    assert found.transient is True


def test_a_gated_model_needs_a_person_whatever_the_status() -> None:
    for status in (401, 403):
        found = diagnose(
            "OSError: You are trying to access a gated repo.\n"
            f"{status} Client Error.\n"
            "Cannot access gated repo for url https://huggingface.co/o/m/resolve/main/config.json."
        )
        assert found.failure is F.GATED_REPO
        assert found.transient is False


def test_a_flag_that_was_removed_is_told_from_one_that_never_was() -> None:
    removed = "main.py: error: unrecognized arguments: --swap-space 2 --num-scheduler-steps 1"
    assert diagnose(removed).failure is F.REMOVED_FLAG
    unknown = "main.py: error: unrecognized arguments: --gpu-memory-utilisation 0.9"
    assert diagnose(unknown).failure is F.UNKNOWN_ARG


def test_a_backend_refused_for_the_cache_type_is_told_from_one_refused_for_the_card() -> None:
    start = "ValueError: No valid attention backend found for cuda with AttentionSelectorConfig("
    cache = f"{start}kv_cache_dtype=fp8). Reasons: {{FLASH_ATTN: [kv_cache_dtype not supported]}}."
    assert diagnose(failed(cache)).failure is F.KV_DTYPE_UNSUPPORTED
    card = (
        f"{start}kv_cache_dtype=fp8). Reasons: {{FLASHMLA: [kv_cache_dtype not supported, compute "
        "capability not supported]}."
    )
    assert diagnose(failed(card)).failure is F.ATTN_BACKEND_UNSUPPORTED


# --- wrappers and causes ---------------------------------------------------------------------


def test_a_wrapper_alone_points_to_the_kernel_log() -> None:
    found = diagnose(LOADING + DEATH_AT_START)
    assert found.failure is F.ENGINE_DEAD
    assert found.outcome is Outcome.FAILED


def test_the_kernel_names_the_killer_of_a_wrapper() -> None:
    found = diagnose(
        LOADING
        + "\nOut of memory: Killed process 4711 (VLLM::EngineCor) total-vm:98765432kB, "
        + "anon-rss:61234567kB"
        + DEATH_AT_START
    )
    assert found.failure is F.HOST_OOM_KILLED
    assert found.numbers.pid == 4711
    assert F.ENGINE_DEAD in found.also


def test_a_worker_that_vanished_is_told_from_a_dead_engine() -> None:
    found = diagnose(
        SERVING
        + "\n"
        + v1("Worker proc VllmWorker-1 died unexpectedly, shutting down executor.", level="ERROR")
    )
    assert found.failure is F.WORKER_DIED


def test_the_earliest_cause_wins_over_what_it_does_to_the_other_ranks() -> None:
    found = diagnose(
        f"{PROFILING}\n"
        f"(Worker_TP1 pid=8) ERROR 11-21 03:05:51 [x.py:1] {ALLOCATION}\n"
        "(Worker_TP0 pid=7) ERROR 11-21 03:05:52 [x.py:1] RuntimeError: NCCL error: unhandled "
        "system error (run with NCCL_DEBUG=INFO for details)\n"
        "(EngineCore pid=42) ERROR 11-21 03:05:53 [core.py:1510] EngineCore failed to start.\n"
        "(EngineCore pid=42) ERROR 11-21 03:05:53 [core.py:1510] Exception: WorkerProc "
        "initialization failed due to an exception in a background process."
    )
    assert found.failure is F.OOM_PROFILE
    assert F.NCCL_ERROR in found.also


def test_a_warning_before_the_banner_explains_a_later_symptom() -> None:
    found = diagnose(
        "WARNING 11-21 03:00:00 [interface.py:201] Failed to import from vllm._C: ImportError("
        '"libstdc++.so.6: version `GLIBCXX_3.4.32\' not found (required by vllm/_C.abi3.so)")\n'
        "(APIServer pid=1) INFO 11-21 03:00:05 [api_server.py:1] vLLM API server version 0.11.2\n"
        + failed("AttributeError: '_OpNamespace' '_C' object has no attribute 'awq_gemm'")
    )
    assert found.failure is F.LIBSTDCXX_TOO_OLD
    assert found.vllm_version == "0.11.2"


def test_an_exception_that_nobody_knows_is_shown_as_it_is() -> None:
    found = diagnose(
        LOADING + "\n" + failed("FrobnicationError: the frob is out of range") + DEATH_AT_START
    )
    assert found.failure is F.UNKNOWN
    assert found.outcome is Outcome.FAILED
    assert found.evidence[0] == "FrobnicationError: the frob is out of range"
    assert found.transient is None


def test_hardware_is_the_cause_of_what_cuda_says() -> None:
    found = diagnose(
        SERVING
        + "\n"
        + v1("RuntimeError: CUDA error: unspecified launch failure", level="ERROR")
        + "\nNVRM: Xid (PCI:0000:01:00): 79, pid=1234, name=python3, GPU has fallen off the bus."
    )
    assert found.failure is F.XID_79
    assert found.also[0] is F.CUDA_LAUNCH_FAILURE


def test_an_xid_of_the_application_only_goes_with_what_cuda_says() -> None:
    found = diagnose(
        "NVRM: Xid (PCI:0000:01:00): 31, pid=1234, name=python3, Ch 8, MMU Fault\n"
        + v1("RuntimeError: CUDA error: an illegal memory access was encountered", level="ERROR")
    )
    assert found.failure is F.CUDA_ILLEGAL_MEMORY_ACCESS
    assert F.XID_31 in found.also


def test_the_worst_xid_is_the_class_and_the_drivers_verdict_is_kept() -> None:
    found = diagnose(
        "NVRM: Xid (PCI:0000:01:00): 45, pid=1, name=python3, Ch 1\n"
        "NVRM: Xid (PCI:0000:01:00): 119, pid=1, name=python3, Timeout waiting for RPC\n"
        "NVRM: Xid (PCI:0000:01:00): 154, GPU recovery action changed from 0x0 (None) to 0x2 (Node "
        "Reboot Required)"
    )
    assert found.failure is F.XID_119
    assert set(found.also) == {F.XID_45, F.XID_154}


def test_an_xid_that_means_nothing_for_now_leaves_the_service_running() -> None:
    found = diagnose(
        SERVING + "\nNVRM: Xid (PCI:0000:01:00): 63, pid=1, name=python3, Row Remapper"
    )
    assert (found.outcome, found.failure) == (Outcome.DEGRADED, F.XID_63)


# --- healthy logs with alarming words --------------------------------------------------------

ALARMING = """
(APIServer pid=1) WARNING 11-21 03:05:01 [system_utils.py:2] Found ulimit of 20000 and failed to automatically increase with error current limit exceeds maximum limit. This can cause fd limit errors like `OSError: [Errno 24] Too many open files`. Consider increasing with ulimit -n
WARNING 11-21 03:05:02 [interface.py:2] Failed to import from vllm._moe_C with ModuleNotFoundError("No module named 'vllm._moe_C'")
(EngineCore pid=42) INFO 11-21 03:05:12 [shm_broadcast.py:2] No available shared memory broadcast block found in 60 seconds. This typically happens when some processes are hanging or doing some time-consuming work (e.g. compilation, weight/kv cache quantization).
(EngineCore pid=42) WARNING 11-21 03:05:13 [x.py:2] HTTP Error 429 thrown while requesting HEAD https://huggingface.co/o/m/resolve/main/config.json
"""  # noqa: E501

CLEAN_STOP = """
(APIServer pid=1) INFO 11-21 04:00:00 [launcher.py:2] [shutdown] API server: shutdown triggered
(APIServer pid=1) INFO 11-21 04:00:00 [launcher.py:2] [shutdown] API server: stopping engine client mode=abort timeout=0s
(APIServer pid=1) WARNING 11-21 04:00:00 [utils.py:2] [shutdown] Process manager: force killing remaining process EngineCore pid 42
(APIServer pid=1) ERROR 11-21 04:00:00 [async_llm.py:2] AsyncLLM output_handler failed.
(APIServer pid=1) ERROR 11-21 04:00:00 [async_llm.py:2] Traceback (most recent call last):
(APIServer pid=1) ERROR 11-21 04:00:00 [async_llm.py:2] vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause.
[rank0]:[W1121 04:00:00.1 ProcessGroupNCCL.cpp:1] Warning: WARNING: destroy_process_group() was not called before program exit, which can leak resources.
INFO:     Shutting down
INFO:     Application shutdown complete.
/usr/lib/python3.11/multiprocessing/resource_tracker.py:254: UserWarning: resource_tracker: There appear to be 1 leaked semaphore objects to clean up at shutdown
"""  # noqa: E501


def test_a_start_full_of_alarming_words_is_ready() -> None:
    found = diagnose(STARTING + ALARMING + SERVING)
    assert (found.outcome, found.failure, found.also) == (Outcome.READY, None, ())


def test_a_clean_stop_is_no_failure_whatever_it_prints() -> None:
    found = diagnose(SERVING + CLEAN_STOP)
    assert (found.outcome, found.failure) == (Outcome.STOPPED, F.SHUTDOWN_SIGTERM)
    assert found.phase is EnginePhase.STOPPING


def test_an_engine_that_goes_first_in_an_asked_stop_did_not_die() -> None:
    found = diagnose(
        SERVING
        + """
(APIServer pid=1) ERROR 11-21 04:00:00 [core_client.py:2] Engine core proc EngineCore_DP0 died unexpectedly, shutting down client.
(APIServer pid=1) INFO 11-21 04:00:00 [launcher.py:2] Shutting down FastAPI HTTP server.
INFO:     Shutting down"""  # noqa: E501
    )
    assert (found.outcome, found.failure) == (Outcome.STOPPED, F.SHUTDOWN_SIGTERM)


def test_an_engine_that_died_before_anybody_asked_is_dead_though_the_exit_is_clean() -> None:
    found = diagnose(
        SERVING
        + """
(APIServer pid=1) WARNING 11-21 04:00:00 [core_client.py:2] [shutdown] MPClient: engine core exited unexpectedly; starting cleanup
INFO:     127.0.0.1:4000 - "GET /health HTTP/1.1" 503 Service Unavailable
INFO:     Shutting down
INFO:     Application shutdown complete.
INFO:     Finished server process [1]"""  # noqa: E501
    )
    assert (found.outcome, found.failure) == (Outcome.FAILED, F.ENGINE_DEAD)


def test_a_request_that_was_refused_ends_nobody() -> None:
    found = diagnose(
        SERVING
        + """
(APIServer pid=1) ERROR 11-21 03:07:00 [serving.py:2] Error in preprocessing prompt inputs
(APIServer pid=1) ERROR 11-21 03:07:00 [serving.py:2] Traceback (most recent call last):
(APIServer pid=1) ERROR 11-21 03:07:00 [serving.py:2] ValueError: Input should be a valid string
INFO:     10.0.0.2:4000 - "POST /v1/completions HTTP/1.1" 400 Bad Request"""
    )
    assert (found.outcome, found.failure) == (Outcome.READY, None)


def test_a_missing_chat_template_leaves_a_server_that_serves_the_rest() -> None:
    found = diagnose(
        SERVING
        + "\nValueError: As of transformers v4.44, default chat template is no longer allowed, so "
        "you must provide a chat template if the tokenizer does not define one."
    )
    assert (found.outcome, found.failure) == (Outcome.DEGRADED, F.CHAT_TEMPLATE_MISSING)


# --- stops -----------------------------------------------------------------------------------


def test_a_drain_is_told_from_an_abort() -> None:
    drain = SERVING + CLEAN_STOP.replace("mode=abort timeout=0s", "mode=drain timeout=30s")
    assert diagnose(drain).failure is F.SHUTDOWN_DRAIN


def test_an_open_connection_that_holds_the_stop_up_is_named() -> None:
    held = SERVING + CLEAN_STOP.replace(
        "INFO:     Shutting down",
        "INFO:     Waiting for connections to close. (CTRL+C to force quit)",
    )
    assert diagnose(held).failure is F.SHUTDOWN_OPEN_CONNECTION


def test_a_stop_asked_during_start_and_ignored_is_named() -> None:
    ignored = LOADING + CLEAN_STOP.split("\n(APIServer pid=1) WARNING")[0] + SERVING
    found = diagnose(ignored)
    assert (found.outcome, found.failure) == (Outcome.READY, None)
    assert diagnose(ignored + CLEAN_STOP).failure is F.SIGTERM_IGNORED_AT_STARTUP


def test_systemd_tells_of_a_process_that_was_killed() -> None:
    found = diagnose(SERVING + "\nvllm.service: Main process exited, code=killed, status=9/KILL")
    assert (found.outcome, found.failure) == (Outcome.FAILED, F.ENGINE_DEAD)


# --- hangs -----------------------------------------------------------------------------------


def test_processes_that_wait_for_each_other_for_minutes_are_hung() -> None:
    blocked = "\n(EngineCore pid=42) INFO 11-21 03:{:02d}:00 [shm_broadcast.py:2] No available " \
        "shared memory broadcast block found in 60 seconds."  # fmt: skip
    few = SERVING + "".join(blocked.format(minute) for minute in range(10, 13))
    assert diagnose(few).failure is None
    many = SERVING + "".join(blocked.format(minute) for minute in range(10, 16))
    assert diagnose(many).failure is F.ENGINE_HUNG
    done = '\nINFO:     10.0.0.2:4000 - "POST /v1/completions HTTP/1.1" 200 OK'
    assert diagnose(many + done).failure is None


def test_requests_that_run_without_a_token_are_a_hang_and_a_long_prefill_is_not() -> None:
    idle = (
        "\n(APIServer pid=1) INFO 11-21 03:10:00 [loggers.py:2] Engine 000: Avg prompt throughput: "
        "0.0 tokens/s, Avg generation throughput: 0.0 tokens/s, Running: 2 reqs, Waiting: 3 reqs"
    )
    assert diagnose(SERVING + idle * 3).failure is None
    assert diagnose(SERVING + idle * 7).failure is F.ENGINE_HUNG
    assert diagnose(SERVING + idle * 7 + idle.replace("0.0 tokens", "9.5 tokens")).failure is None


def test_a_server_that_nobody_uses_is_not_hung() -> None:
    idle = SERVING.rsplit("\n", 1)[0] + "".join(
        '\nINFO:     127.0.0.1:4000 - "GET /health HTTP/1.1" 200 OK' for _ in range(360)
    )
    assert diagnose(idle).failure is None
    stop = CLEAN_STOP.replace("04:00:00", "04:06:00")
    assert diagnose(idle + stop).failure is F.SHUTDOWN_SIGTERM


# --- several runs in one log -----------------------------------------------------------------


def test_the_last_run_counts() -> None:
    crash = PROFILING + "\n" + failed(ALLOCATION) + DEATH_AT_START
    restart = (
        "\n(APIServer pid=9) INFO 11-21 03:10:00 [api_server.py:1] vLLM API server version 0.9.2"
    )
    assert diagnose(crash + restart + SERVING).outcome is Outcome.READY


def test_while_a_new_run_only_starts_the_failure_of_the_last_one_is_shown() -> None:
    crash = PROFILING + "\n" + failed(ALLOCATION) + DEATH_AT_START
    restart = (
        "\n(APIServer pid=9) INFO 11-21 03:10:00 [api_server.py:1] vLLM API server version 0.9.2"
    )
    found = diagnose(crash + restart + LOADING)
    assert (found.outcome, found.failure) == (Outcome.FAILED, F.OOM_PROFILE)


def test_a_log_that_ends_while_starting_is_running() -> None:
    found = diagnose(CAPTURING)
    assert (found.outcome, found.failure) == (Outcome.RUNNING, None)
    assert found.phase is EnginePhase.CAPTURING
    assert found.progress is not None
    assert (found.progress.what, found.progress.done) == ("capturing CUDA graphs", 0.4)


def test_a_log_of_something_else_is_unknown() -> None:
    found = diagnose("GET / 200\nhello world\nsome traceback maybe")
    assert (found.outcome, found.failure) == (Outcome.UNKNOWN, None)
    assert diagnose("").outcome is Outcome.UNKNOWN
