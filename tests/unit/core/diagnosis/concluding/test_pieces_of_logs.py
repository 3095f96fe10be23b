# SPDX-License-Identifier: Apache-2.0
"""A piece of a log from which the cause is cut off claims no more than its lines tell."""

from __future__ import annotations

import pytest

from agent.core.failures.classes import EnginePhase, FailureClass, Outcome
from tests.given.engine_logs import SERVING, STARTING, diagnose, failed

F = FailureClass

WAITS = (
    "(EngineCore pid=31) INFO 11-12 10:{:02d}:02 [shm_broadcast.py:802] No available shared memory "
    "broadcast block found in 60 seconds. This typically happens when some processes are hanging "
    "or doing some time-consuming work (e.g. compilation, weight/kv cache quantization)."
)


def waits(minutes: int) -> list[str]:
    return [WAITS.format(minute) for minute in range(minutes)]


def test_nothing_but_waiting_is_a_hang_that_may_be_none() -> None:
    found = diagnose(waits(6))

    assert (found.failure, found.guessed, found.transient) == (F.ENGINE_HUNG, True, None)
    assert "loading or compiling" in found.advice


def test_waiting_within_a_start_is_the_start_s_own_work() -> None:
    found = diagnose([*STARTING.strip().split("\n"), *waits(6)])

    assert (found.outcome, found.failure) == (Outcome.RUNNING, None)


def test_waiting_before_an_engine_came_up_is_no_hang_of_it() -> None:
    found = diagnose([*waits(6), *SERVING.strip().split("\n")])

    assert (found.outcome, found.failure) == (Outcome.READY, None)


@pytest.mark.parametrize(
    "line",
    [
        "(EngineCore pid=9) Exception: WorkerProc initialization failed due to an exception in a "
        "background process. See stack trace for root cause.",
        "(Worker_TP1 pid=9) ERROR 11-12 10:00:00 [multiproc_executor.py:901] WorkerProc hit an "
        "exception.",
    ],
)
def test_a_worker_s_exception_that_is_cut_off_is_not_a_worker_that_was_killed(line: str) -> None:
    found = diagnose(line)

    assert (found.outcome, found.failure) == (Outcome.FAILED, F.UNKNOWN)
    assert found.transient is None


@pytest.mark.parametrize(
    ("line", "failure"),
    [
        ("inference | worker exited with exit code 136", F.NATIVE_CRASH),
        ("inference | worker exited with exit code 137", F.ENGINE_DEAD),
        (
            "ERROR 11-12 10:00:00 [core.py:396] The actor is dead because its worker process has "
            "died. Worker exit type: SYSTEM_ERROR Worker exit detail: End of file.",
            F.WORKER_DIED,
        ),
        (
            "/srv/py/bin/python3: Error while finding module specification for "
            "'vllm.entrypoints.openai.api_server' (ModuleNotFoundError: No module named 'vllm')",
            F.PACKAGE_MISMATCH,
        ),
        (
            "(EngineCore pid=9) ERROR 11-12 10:00:00 [core.py:708] RuntimeError: Worker failed "
            "with error 'tuple index out of range', please check the stack trace above for the "
            "root cause",
            F.ENGINE_BUG,
        ),
    ],
)
def test_a_lone_line_tells_how_a_process_ended(line: str, failure: FailureClass) -> None:
    assert diagnose(line).failure is failure


@pytest.mark.parametrize(
    ("capability", "failure"),
    [("75", F.FP8_KERNEL_UNSUPPORTED), ("86", F.FP8_KERNEL_UNSUPPORTED)]
    + [(newer, F.KERNEL_LIBRARY) for newer in ("89", "90", "100", "103", "120", "121")],
)
def test_a_gpu_that_computes_fp8_is_not_told_that_it_cannot(
    capability: str, failure: FailureClass
) -> None:
    said = "No compiled cutlass_scaled_mm for CUDA device capability:"
    found = diagnose(f"NotImplementedError: {said} {capability}")

    assert found.failure is failure
    assert ("no FP8 kernels" in found.advice) is False


def test_an_error_of_the_interpreter_in_a_kernel_s_launch_is_no_kernel_that_fails_again() -> None:
    head = "(EngineCore pid=9) ERROR 11-12 10:00:00 [core.py:1004] "
    found = diagnose(
        [
            "(APIServer pid=1) INFO:     Application startup complete.",
            f"{head}EngineCore encountered a fatal error.",
            f"{head}Traceback (most recent call last):",
            f'{head}  File "/v/site-packages/triton/runtime/jit.py", line 7, in run',
            f"{head}SystemError: error return without exception set",
        ]
    )

    assert (found.failure, found.phase) == (F.ENGINE_BUG, EnginePhase.SERVING)
    assert "compiled extension" in found.advice


@pytest.mark.parametrize(
    ("said", "failure", "transient"),
    [
        ("ValueError: placement group bundle index 6 is invalid.", F.BAD_ARG_VALUE, False),
        ("RuntimeError: NCCL error: invalid usage (run with NCCL_DEBUG=WARN)", F.NCCL_ERROR, None),
        ("RuntimeError: NCCL error: unhandled system error", F.NCCL_ERROR, True),
        (
            "zmq.error.ZMQError: Address already in use (addr='tcp://10.0.0.7:5600')",
            F.PORT_IN_USE,
            None,
        ),
        ("OSError: [Errno 98] Address already in use", F.PORT_IN_USE, True),
        (
            "NotImplementedError: No operator found for `memory_efficient_attention_forward` with "
            "inputs:",
            F.KERNEL_LIBRARY,
            False,
        ),
    ],
)
def test_what_may_pass_and_what_is_refused_again_are_told_apart(
    said: str, failure: FailureClass, transient: bool | None
) -> None:
    alone = diagnose(said)
    within = diagnose(f"(EngineCore pid=9) ERROR 11-12 10:00:00 [core.py:390] {said}")

    assert (alone.failure, within.failure) == (failure, failure)
    assert within.transient is transient


REFUSED = [
    '(APIServer pid=1)   File "/v/site-packages/vllm/tokenizers/odd.py", line 213, in check',
    '(APIServer pid=1)     raise ValueError("odd_field is not taken")',
    "(APIServer pid=1) ValueError: odd_field is not taken",
]


@pytest.mark.parametrize("status", ["400 Bad Request", "422 Unprocessable Entity", "200 OK"])
def test_an_exception_behind_which_the_server_answers_was_of_a_request(status: str) -> None:
    answer = (
        f'(APIServer pid=1) INFO:     10.0.0.9:5 - "POST /v1/chat/completions HTTP/1.1" {status}'
    )
    found = diagnose([*REFUSED, answer])

    assert (found.outcome, found.failure) == (Outcome.READY, None)


@pytest.mark.parametrize(
    "behind",
    [
        ["(APIServer pid=1) INFO 11-12 10:00:00 [launcher.py:9] Route: /health, Methods: GET"],
        [
            "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause "
            "above. Failed core proc(s): {}",
            '(APIServer pid=1) INFO:     10.0.0.9:5 - "POST /v1/score HTTP/1.1" 404 Not Found',
        ],
        ['(APIServer pid=1) INFO:     10.0.0.9:5 - "POST /v1/completions HTTP/1.1" 500 Internal'],
    ],
)
def test_an_exception_behind_which_nothing_is_answered_ended_it(behind: list[str]) -> None:
    assert diagnose([*REFUSED, *behind]).outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("lines", "failure"),
    [
        (
            ["2026-02-01 10:00:00.4 1 odd ERROR [m.py:9] Failed to start model server: odd"],
            F.UNKNOWN,
        ),
        (["ERROR:    Application startup failed. Exiting."], F.UNKNOWN),
        (
            [
                "This kernel only supports sm103.",
                "(EngineCore pid=9) ERROR 11-12 10:00:00 [core.py:1] torch.AcceleratorError: CUDA "
                "error: unspecified launch failure",
            ],
            F.KERNEL_LIBRARY,
        ),
        (["RuntimeError: CUDA is not available; the odd op needs it."], F.NO_GPU),
        (["ValueError: Duplicated timeseries in CollectorRegistry: {'vllm:odd'}"], F.ENGINE_BUG),
    ],
)
def test_what_ended_it_may_stand_in_one_line(lines: list[str], failure: FailureClass) -> None:
    found = diagnose(lines)
    assert (found.outcome, found.failure) == (Outcome.FAILED, failure)


def test_a_job_that_slurm_cancels_was_stopped_and_did_not_fail() -> None:
    said = (
        "slurmstepd: error: *** JOB 7 ON gpu-1 CANCELLED AT 2026-11-12T10:00:00 DUE TO PREEMPTION"
    )
    behind = "(EngineCore pid=9) ERROR 11-12 10:00:00 [core.py:1] EngineCore hit an exception"
    found = diagnose([*SERVING.strip().split("\n"), said, behind])

    assert (found.outcome, found.failure) == (Outcome.STOPPED, F.SHUTDOWN_SIGTERM)


def test_a_probe_that_kills_is_told_with_both_of_its_reasons() -> None:
    found = diagnose("Container odd failed liveness probe, will be restarted")

    assert (found.failure, found.transient) == (F.START_STALLED, None)
    assert "startupProbe" in found.advice
    assert "hangs" in found.advice


def test_a_bare_exception_before_the_engine_s_own_lines_is_the_cause() -> None:
    """As reports quote it: the exception alone, then what the engine said of it."""
    wrapper = "RuntimeError: Engine core initialization failed. See root cause above. Failed core"
    lines = ["OSError: [Errno 99] Cannot assign requested address", f"(APIServer pid=1) {wrapper}"]
    found = diagnose(lines)

    assert (found.failure, found.evidence[0]) == (F.BAD_ARG_VALUE, lines[0])


def test_a_model_that_could_not_be_inspected_is_not_unknown_to_vllm() -> None:
    headline = "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig"
    reason = "  Value error, Model architectures ['OddForCausalLM'] failed to be inspected."
    alone = diagnose([f"(APIServer pid=1) {line}" for line in (headline, reason)])
    root = "ERROR 11-12 10:00:00 [registry.py:9] KeyError: 'getpwuid(): uid not found: 7'"
    whole = diagnose([root, *(f"(APIServer pid=1) {line}" for line in (headline, reason))])

    assert (alone.failure, whole.failure) == (F.UNKNOWN, F.NO_SUCH_USER)
    assert "before this line" in alone.advice


def test_an_engine_core_that_was_asked_to_stop_did_not_die() -> None:
    found = diagnose(
        [
            "(EngineCore pid=9) INFO 11-12 10:00:00 [core.py:1201] Shutdown initiated (timeout=0)",
            "(EngineCore pid=9) INFO 11-12 10:00:00 [core.py:1224] Shutdown complete",
            "ERROR 11-12 10:00:01 [core_client.py:704] Engine core proc EngineCore died "
            "unexpectedly, shutting down client.",
        ]
    )
    assert (found.outcome, found.failure) == (Outcome.STOPPED, F.SHUTDOWN_SIGTERM)


@pytest.mark.parametrize(
    "said",
    [
        "Ignored error while writing commit hash to /srv/odd/refs/main: [Errno 13] Permission "
        "denied: '/srv/odd/refs/main'.",
        "Could not cache non-existence of file. Will ignore error and continue. Error: [Errno 30] "
        "Read-only file system: '/srv/odd'",
    ],
)
def test_what_the_hub_s_library_goes_on_without_is_no_failure(said: str) -> None:
    assert diagnose(f"(Worker_TP0 pid=9) {said}").failure is None


def test_a_refused_argument_is_known_by_its_first_line() -> None:
    lines = ["vllm serve: error: argument --odd-limit:", "Value odd=0 cannot be converted"]
    found = diagnose(lines)

    assert (found.failure, found.advice) == (
        F.BAD_ARG_VALUE,
        "Correct what the line names: --odd-limit.",
    )


FALLBACK = (
    "(EngineCore pid=99) WARNING 11-21 03:05:45 [marlin_utils_fp4.py:97] Your GPU does not have "
    "native support for FP4 computation but FP4 quantization is being used. Weight-only FP4 "
    "compression will be used leveraging the Marlin kernel. This may degrade performance for "
    "compute-heavy workloads."
)


def test_a_fallback_of_a_new_start_hides_no_failure_before_it() -> None:
    out_of_memory = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    before = f"{STARTING.strip()}\n{failed(out_of_memory)}"
    start = f"{STARTING.strip()}\n{FALLBACK}"

    assert diagnose(start).outcome is Outcome.DEGRADED
    assert diagnose(f"{before}\n{start}").failure == diagnose(before).failure
    assert diagnose(f"{before}\n{start}\n{SERVING.strip()}").outcome is Outcome.DEGRADED
