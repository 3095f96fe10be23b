# SPDX-License-Identifier: Apache-2.0
"""Transcripts: what the log of a run says of its end: look-alikes, wrappers and causes."""

from __future__ import annotations

import pytest

from agent.core.diagnosis.reader import LogReader
from agent.core.failures.classes import EnginePhase, FailureClass, Outcome
from tests.given.engine_logs import (
    ALLOCATION,
    CAPTURING,
    DEATH_AT_START,
    LOADING,
    PROFILING,
    SERVING,
    SIGNATURES,
    WARMING,
    diagnose,
    failed,
    v1,
)

F = FailureClass


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


def test_who_reads_on_in_a_run_that_serves_tells_its_death_by_the_lines_it_has_read() -> None:
    died = v1(
        f"EngineCore encountered a fatal error.\nTraceback (most recent call last):\n{ALLOCATION}",
        level="ERROR",
    ).split("\n")
    reader = LogReader(SIGNATURES)
    reader.came_up()
    assert (reader.phase, reader.ready) == (EnginePhase.SERVING, True)
    assert (reader.diagnosis().outcome, reader.diagnosis().evidence) == (Outcome.READY, ())
    for line in died:
        reader.feed(line)
    found = reader.diagnosis()
    whole = diagnose([*SERVING.strip("\n").split("\n"), *died])
    assert (found.failure, found.phase) == (whole.failure, whole.phase)
    assert all(any(said in line for line in died) for said in found.evidence)


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


DOCKER_WENT = (
    '\ntime="2026-11-29T00:24:19Z" level=error msg="error waiting for container: unexpected EOF"\n'
)
DOCKER_BACK = "docker's daemon is back, and the engine went on without it\n"


def test_an_engine_that_outlived_dockers_daemon_did_not_die_of_it_later() -> None:
    assert diagnose(SERVING + DOCKER_WENT).failure is F.CONTAINER_DAEMON
    assert diagnose(SERVING + DOCKER_WENT + DOCKER_BACK).outcome is Outcome.READY
    later = diagnose(SERVING + DOCKER_WENT + DOCKER_BACK + ALLOCATION)
    assert F.CONTAINER_DAEMON not in (later.failure, *later.also)
    again = diagnose(SERVING + DOCKER_WENT + DOCKER_BACK + DOCKER_WENT)
    assert again.failure is F.CONTAINER_DAEMON
