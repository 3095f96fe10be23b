# SPDX-License-Identifier: Apache-2.0
"""Transcripts: healthy runs with alarming words, how runs stop and hang, several runs in a log."""

from __future__ import annotations

import pytest

from agent.core.failures.classes import EnginePhase, FailureClass, Outcome
from agent.core.failures.meaning import advice_for_class
from tests.given.engine_logs import (
    ALLOCATION,
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

# --- healthy logs with alarming words --------------------------------------------------------

ALARMING = """
(APIServer pid=1) WARNING 11-21 03:05:01 [system_utils.py:2] Found ulimit of 20000 and failed to automatically increase with error current limit exceeds maximum limit. This can cause fd limit errors like `OSError: [Errno 24] Too many open files`. Consider increasing with ulimit -n
WARNING 11-21 03:05:02 [interface.py:2] Failed to import from vllm._moe_C with ModuleNotFoundError("No module named 'vllm._moe_C'")
(EngineCore pid=42) INFO 11-21 03:05:12 [shm_broadcast.py:2] No available shared memory broadcast block found in 60 seconds. This typically happens when some processes are hanging or doing some time-consuming work (e.g. compilation, weight/kv cache quantization).
(APIServer pid=1) WARNING 11-21 03:05:03 [registry.py:2] FooForCausalLM has no vLLM implementation, falling back to Transformers implementation.
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


ONE_OF_TWO_IS_GONE = """
(MainProcess pid=9) INFO 11-21 04:00:00 [utils.py:2] [shutdown] Process manager: send sigterm to process EngineCore_DP0
(EngineCore_DP0 pid=10) INFO 11-21 04:00:00 [core.py:2] [shutdown] EngineCore: trigger received signal=SIGTERM
(EngineCore_DP0 pid=10) INFO 11-21 04:00:00 [core.py:2] [shutdown] EngineCore: start mode=drain timeout=30s
(MainProcess pid=9) ERROR 11-21 04:00:05 [utils.py:2] Exception occurred while running API servers: Engine core process EngineCore_DP1 died unexpectedly.
(MainProcess pid=9) ERROR 11-21 04:00:05 [utils.py:2] Traceback (most recent call last):
(MainProcess pid=9) ERROR 11-21 04:00:05 [utils.py:2]   File "/opt/vllm/lib/python3.12/site-packages/vllm/v1/utils.py", line 2, in wait_for_completion_or_failure
(MainProcess pid=9) ERROR 11-21 04:00:05 [utils.py:2]     raise RuntimeError(
(MainProcess pid=9) ERROR 11-21 04:00:05 [utils.py:2] RuntimeError: Engine core process EngineCore_DP1 died unexpectedly.
(ApiServer_1 pid=12) INFO 11-21 04:00:05 [launcher.py:2] [shutdown] API server: shutdown triggered
(ApiServer_1 pid=12) INFO 11-21 04:00:05 [launcher.py:2] [shutdown] API server: stopping engine client mode=drain timeout=30s
INFO:     Shutting down
"""  # noqa: E501


def test_an_engine_of_several_that_died_is_the_cause_though_the_others_are_stopped_first() -> None:
    """Seen: two engines and two API servers of vLLM 0.32, one engine killed with -9."""
    found = diagnose(SERVING + ONE_OF_TWO_IS_GONE)
    assert (found.outcome, found.failure) == (Outcome.FAILED, F.ENGINE_DEAD)
    assert "EngineCore_DP1 died unexpectedly" in found.evidence[0]
    assert found.phase is EnginePhase.SERVING


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


def test_an_interrupt_during_start_is_a_stop_though_the_engine_then_fails() -> None:
    found = diagnose(f"{PROFILING}\nKeyboardInterrupt{DEATH_AT_START}")
    assert (found.outcome, found.failure) == (Outcome.STOPPED, F.SHUTDOWN_SIGTERM)


def test_a_prompt_that_quotes_a_failure_is_none() -> None:
    quoted = (
        "\n(APIServer pid=1) INFO 11-21 03:07:00 [logger.py:2] Received request cmpl-1: prompt: "
        f"'why {ALLOCATION}'\n"
        "(APIServer pid=1) INFO 11-21 03:07:00 [x.py:2] output: CUDA error: device-side assert "
        "triggered"
    )
    assert diagnose(SERVING + quoted).failure is None


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


@pytest.mark.parametrize(
    "between",
    ["", "\nvllm.service: Scheduled restart job, restart counter is at 2."],
)
def test_a_run_that_dies_of_its_arguments_is_a_run_of_its_own(between: str) -> None:
    refused = (
        "\nusage: vllm [-h] [-v] {chat,serve} ...\n"
        "vllm: error: unrecognized arguments: --swap-space 4"
    )
    for before in (SERVING + CLEAN_STOP, PROFILING + "\n" + failed(ALLOCATION) + DEATH_AT_START):
        assert diagnose(before + between + refused).failure is F.REMOVED_FLAG


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


# --- errors after which the program goes on --------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "(APIServer pid=1) ERROR 11-21 03:05:01 [repo_utils.py:47] Error retrieving safetensors: "
        "Repo id must use alphanumeric chars: '/m'., retrying 1 of 2",
        "'(ReadTimeoutError(\"HTTPSConnectionPool(host='hub.example', port=443): Read timed "
        "out.\"))' thrown while requesting HEAD https://hub.example/o/m/resolve/main/config.json",
        "UserWarning: Not enough free disk space to download the file. The expected size is 9 MB.",
        "WARNING 11-21 03:05:02 [interface.py:2] Failed to import from vllm._C with "
        "ImportError('libcuda.so.1: cannot open shared object file: No such file or directory')",
        "WARNING 11-21 03:05:02 [x.py:2] HTTP Error 429 thrown while requesting HEAD https://x/y",
    ],
)
def test_an_error_that_was_caught_is_no_failure_once_the_start_goes_on(line: str) -> None:
    loading = diagnose(f"{line}\n{LOADING}")
    assert (loading.outcome, loading.failure) == (Outcome.RUNNING, None)
    died = f"{line}\n{LOADING}\n{failed('FrobnicationError: odd')}"
    assert diagnose(died).failure is F.UNKNOWN


def test_a_thread_that_fails_beside_the_engine_ends_nobody() -> None:
    thread = (
        "Exception in thread Thread-1 (_report_usage_worker):\n"
        "Traceback (most recent call last):\n"
        "PermissionError: [Errno 13] Permission denied: '/.config'\n"
    )
    assert diagnose(thread + LOADING).failure is None
    assert diagnose(thread + SERVING).outcome is Outcome.READY


def test_a_broken_library_that_was_only_warned_of_explains_the_death_that_follows() -> None:
    warning = (
        "WARNING 11-21 03:00:00 [interface.py:2] Failed to import from vllm._C with "
        "ImportError('vllm/_C.abi3.so: undefined symbol: _ZN3c1011')\n"
    )
    assert diagnose(warning + LOADING).outcome is Outcome.RUNNING
    died = warning + LOADING + "\n" + failed("FrobnicationError: odd")
    assert diagnose(died).failure is F.TORCH_MISMATCH


def test_an_engine_that_makes_tokens_long_after_an_error_did_not_die_of_it() -> None:
    error = "\n(EngineCore pid=42) ERROR 11-21 03:07:00 [x.py:2] RuntimeError: CUDA error: " \
        "device-side assert triggered"  # fmt: skip
    stats = (
        "\n(APIServer pid=1) INFO 11-21 03:{}:00 [loggers.py:2] Engine 000: Avg prompt throughput: "
        "1.0 tokens/s, Avg generation throughput: 9.0 tokens/s, Running: 1 reqs"
    )
    assert diagnose(SERVING + error).failure is F.CUDA_ASSERT
    assert diagnose(SERVING + error + stats.format("07")).failure is F.CUDA_ASSERT
    assert diagnose(SERVING + error + stats.format("09")).outcome is Outcome.READY


def test_one_line_has_one_class_the_one_nearest_to_the_root() -> None:
    line = (
        "(VllmWorkerProcess pid=7) ERROR 07-24 08:26:01 multiproc_worker_utils.py:226] Exception "
        "in worker VllmWorkerProcess while processing method init_device: NCCL error: unhandled "
        "cuda error"
    )
    found = diagnose(line)
    assert (found.failure, found.also) == (F.NCCL_ERROR, ())


def test_a_stop_that_systemd_had_to_force_was_swallowed_by_the_start() -> None:
    asked = "Nov 21 03:05:30 gpu-1 systemd[1]: Stopping vllm.service - odd...\n"
    forced = "vllm.service: State 'stop-sigterm' timed out. Killing."
    forced = f"\nNov 21 03:07:00 gpu-1 systemd[1]: {forced}\n"
    found = diagnose(STARTING + asked + SERVING + forced)
    assert (found.outcome, found.failure) == (Outcome.STOPPED, F.SIGTERM_IGNORED_AT_STARTUP)


def test_an_executor_that_failed_lost_a_worker_and_is_no_fault_of_the_engine() -> None:
    died = v1("Worker proc VllmWorker-1 died unexpectedly, shutting down executor.", level="ERROR")
    frames = (
        '  File "/opt/vllm/vllm/v1/executor/multiproc_executor.py", line 7, in collective_rpc\n'
    )
    thrown = f"EngineCore encountered a fatal error.\n{frames}RuntimeError: Executor failed."
    found = diagnose(f"{SERVING}\n{died}\n{v1(thrown, level='ERROR')}")
    assert found.failure is F.WORKER_DIED
    assert "journalctl -k" in advice_for_class(F.WORKER_DIED)
