# SPDX-License-Identifier: Apache-2.0
"""The same frame means one thing while a model loads and another while it serves."""

from __future__ import annotations

import pytest

from agent.cli.diagnose import remedy_of
from agent.core.failures.classes import EnginePhase, FailureClass, Outcome
from tests.given.engine_logs import (
    DEATH_AT_START,
    SERVING,
    SIGNATURES,
    STARTING,
    diagnose,
    thrown_by,
    v1,
)

F = FailureClass
PLACES = SIGNATURES.places


def thrown(*frames: str, exception: str) -> str:
    """Return a traceback with its exception, in the prefix of the engine."""
    trace = thrown_by(*frames, exception=exception)
    return v1(f"Traceback (most recent call last):\n{trace}", level="ERROR")


def died_serving(*frames: str, exception: str) -> str:
    """Return the log of a server whose busy loop ended with an exception."""
    loop = "vllm/v1/engine/core.py:run_busy_loop"
    fatal = v1("EngineCore encountered a fatal error.", level="ERROR")
    return f"{SERVING}\n{fatal}\n{thrown(loop, *frames, exception=exception)}"


@pytest.mark.parametrize(
    ("frame", "exception"),
    [
        ("vllm/model_executor/layers/linear.py:forward", "RuntimeError: odd strides"),
        ("vllm/model_executor/models/utils.py:_merge", "ValueError: 3 images for 2 places"),
        ("vllm/v1/structured_output/backend_odd.py:compile_grammar", "RuntimeError: odd rule"),
        ("xgrammar/compiler.py:compile_json_schema", "RuntimeError: odd field"),
        ("vllm/config/odd.py:check", "ValueError: odd"),
        ("vllm/model_executor/parameter.py:data", "RuntimeError: odd"),
    ],
)
def test_what_a_server_dies_of_is_neither_fetched_again_nor_held(
    frame: str, exception: str
) -> None:
    found = diagnose(died_serving(frame, exception=exception))
    assert found.failure in (F.ENGINE_BUG, F.KERNEL_LIBRARY), found.failure
    assert remedy_of(found)["action"] == "restart"


def test_the_busy_loop_tells_that_it_served_where_the_log_begins_late() -> None:
    cut = died_serving("vllm/config/odd.py:check", exception="ValueError: odd")
    found = diagnose(cut.removeprefix(SERVING))
    assert (found.failure, found.phase) == (F.ENGINE_BUG, EnginePhase.SERVING)
    assert remedy_of(found)["action"] == "restart"


@pytest.mark.parametrize(
    "lines",
    [
        v1("EngineCore encountered a fatal error.", level="ERROR")
        + "\n"
        + thrown("vllm/v1/core/sched/scheduler.py:odd", exception="AssertionError: odd"),
        thrown("vllm/v1/engine/core.py:_process_engine_step", exception="AssertionError: odd"),
    ],
)
def test_a_part_of_a_log_tells_by_its_traceback_that_the_engine_had_come_up(lines: str) -> None:
    assert diagnose(lines).phase is EnginePhase.SERVING
    assert remedy_of(diagnose(lines))["action"] == "restart"


def test_the_same_layer_is_about_weights_while_they_load() -> None:
    died = thrown(
        "vllm/v1/worker/gpu_worker.py:load_model",
        "vllm/model_executor/layers/linear.py:weight_loader",
        exception="RuntimeError: odd shape of the weight",
    )
    assert diagnose(f"{STARTING}\n{died}{DEATH_AT_START}").failure is F.WEIGHTS_MISMATCH


def test_a_rule_for_a_phase_goes_before_one_for_any() -> None:
    frame = ["vllm/model_executor/layers/linear.py:forward"]
    loading = PLACES.place("RuntimeError: odd shape", frame, EnginePhase.LOADING)
    profiling = PLACES.place("RuntimeError: odd shape", frame, EnginePhase.PROFILING)
    assert loading is not None
    assert profiling is not None
    assert (loading.failure, profiling.failure) == (F.ENGINE_BUG, F.KERNEL_LIBRARY)


def test_a_refused_setting_of_a_service_that_served_does_not_hold_it() -> None:
    words = "ValueError: LoRA rank 96 is greater than max_lora_rank 32."
    found = diagnose(died_serving("vllm/lora/peft_helper.py:validate_legal", exception=words))
    assert found.failure is F.BAD_ARG_VALUE
    assert remedy_of(found)["action"] == "restart"


@pytest.mark.parametrize(
    ("exception", "failure"),
    [
        (
            "RuntimeError: Worker failed with error 'BF16 is not supported', please check the "
            "stack trace above for the root cause",
            F.DTYPE_UNSUPPORTED,
        ),
        (
            "RuntimeError: Worker failed with error 'cuDNN error: CUDNN_STATUS_ODD', please check "
            "the stack trace above for the root cause",
            F.KERNEL_LIBRARY,
        ),
        (
            "Exception: Call to add_lora method failed: [Errno 5] Input/output error: '/a/b'",
            F.UNKNOWN,
        ),
    ],
)
def test_words_that_are_quoted_of_another_process_count_not_the_place_of_the_quotation(
    exception: str, failure: FailureClass
) -> None:
    frame = "vllm/v1/executor/multiproc_executor.py:get_response"
    assert diagnose(thrown(frame, exception=exception)).failure is failure


def test_pydantics_reason_is_placed_as_the_exception_that_it_stands_for() -> None:
    log = (
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig\n"
        "  Value error, Extra data: line 3 column 1 (char 40) [type=value_error, "
        "input_value=ArgsKwargs((), {}), input_type=ArgsKwargs]"
    )
    found = diagnose(log)
    assert found.failure is F.MODEL_PATH
    assert "Extra data" in found.evidence[0]


def test_a_path_of_windows_is_a_path() -> None:
    lines = (
        '  File "C:\\venv\\Lib\\site-packages\\vllm_gguf_plugin\\loader.py", line 7, in build\n'
        "    raise RuntimeError(\nRuntimeError: Failed to map odd parameters (3)"
    )
    found = diagnose(v1(f"EngineCore failed to start.\n{lines}", level="ERROR"))
    assert found.failure is F.WEIGHTS_MISMATCH


def test_that_vllm_is_in_a_container_counts_also_where_a_later_line_shows_it() -> None:
    words = "Error 803: system has unsupported display driver / cuda driver combination"
    words = f"RuntimeError: {words}"
    engine = v1(f"EngineCore failed to start.\n{words}", level="ERROR")
    assert diagnose(f"{engine}{DEATH_AT_START}").failure is F.CUDA_COMPAT_LIBRARY
    outside = diagnose(f"{engine}{DEATH_AT_START.replace('pid=1)', 'pid=901)')}")
    assert outside.failure is F.NVML_MISMATCH
    assert "container" in outside.advice


@pytest.mark.parametrize(
    ("line", "failure"),
    [
        ("python3: /b/lib/Odd.cpp:7: void odd(): Assertion `a == b' failed.", F.NATIVE_CRASH),
        (
            "python3: /b/lib/Odd.cpp:7: mlir::triton::odd(mlir::Value): Assertion `a' failed.",
            F.KERNEL_LIBRARY,
        ),
        ("LLVM ERROR: Cannot select: intrinsic %llvm.nvvm.odd", F.KERNEL_LIBRARY),
        ("free(): double free detected in tcache 2", F.NATIVE_CRASH),
    ],
)
def test_the_last_word_of_native_code_is_no_healthy_end(line: str, failure: FailureClass) -> None:
    found = diagnose(f"{SERVING}\n{line}")
    assert (found.outcome, found.failure) == (Outcome.FAILED, failure)


@pytest.mark.parametrize(
    ("exception", "failure", "named"),
    [
        ("OSError: [Errno 5] Input/output error", F.UNKNOWN, "journalctl -k"),
        ("OSError: [Errno 116] Stale file handle: '/nfs/m/a.safetensors'", F.UNKNOWN, "mount"),
        ("OSError: [Errno 12] Cannot allocate memory", F.HOST_OOM_KILLED, "RAM"),
        ("RuntimeError: can't start new thread", F.FD_LIMIT, "TasksMax"),
        ("zmq.error.ZMQError: No such device (addr='tcp://o:7')", F.BAD_ARG_VALUE, "VLLM_HOST_IP"),
        (
            "RuntimeError: [enforce fail at gloo/transport/tcp/device.cc:84] ifa != nullptr. "
            "Unable to find address for: odd0",
            F.BAD_ARG_VALUE,
            "GLOO_SOCKET_IFNAME",
        ),
        ("RuntimeError: UVA is not available", F.BAD_ARG_VALUE, "VLLM_WSL2_ENABLE_PIN_MEMORY=1"),
        (
            "RuntimeError: cuDNN version incompatibility: PyTorch was compiled  against (9, 9, 1) "
            "but found runtime version (9, 1, 0).",
            F.TORCH_MISMATCH,
            "LD_LIBRARY_PATH",
        ),
        (
            "RuntimeError: Assertion error /s/DeepGEMM/csrc/jit_kernels/odd.hpp:7 'm > 0'",
            F.KERNEL_LIBRARY,
            "VLLM_USE_DEEP_GEMM",
        ),
    ],
)
def test_the_host_and_native_code_are_read_by_their_words_through_any_frame(
    exception: str, failure: FailureClass, named: str
) -> None:
    found = diagnose(
        thrown("vllm/model_executor/model_loader/odd.py:read", exception=exception) + DEATH_AT_START
    )
    assert found.failure is failure
    assert named in str(remedy_of(found)["why"])


@pytest.mark.parametrize(
    ("lines", "failure"),
    [
        ("slurmstepd: error: Detected 2 oom_kill events in StepId=9.0.", F.HOST_OOM_KILLED),
        ("vllm.service: systemd-oomd killed 9 process(es) in this unit.", F.HOST_OOM_KILLED),
        ("Illegal instruction (core dumped)", F.PACKAGE_MISMATCH),
        ("exec /usr/bin/odd: exec format error", F.CONTAINER_REFUSED),
        (
            "docker: invalid reference format: repository name must be lowercase.",
            F.CONTAINER_REFUSED,
        ),
        ("vllm.service: Failed at step EXEC spawning /o/python: No such file", F.BAD_ARG_VALUE),
        ("vllm.service: Failed at step USER spawning /o/python: No such process", F.NO_SUCH_USER),
        ("/opt/odd/bin/python3.12: No module named vllm", F.PACKAGE_MISMATCH),
        ("/usr/bin/ld: cannot find -lcuda: No such file or directory", F.NO_C_COMPILER),
        (
            v1(
                "ImportError: /o.so.1: cannot allocate memory in static TLS block",
                level="ERROR",
            ),
            F.PACKAGE_MISMATCH,
        ),
        ("vllm: error: argument --api-key: expected one argument", F.BAD_ARG_VALUE),
        (v1("ValueError: odd_role must be set for odd", level="ERROR"), F.BAD_ARG_VALUE),
        (v1("modelscope.hub.errors.NotExistError: no odd", level="ERROR"), F.REPO_NOT_FOUND),
    ],
)
def test_an_end_that_has_but_one_line_is_read(lines: str, failure: FailureClass) -> None:
    assert diagnose(f"{STARTING}\n{lines}").failure is failure


def test_what_an_engine_throws_that_had_come_up_is_no_refusal_of_its_settings() -> None:
    """The piece of a log begins behind the start: only the end of the loop tells that it served."""
    thrown = thrown_by("nixl/_api.py:make_xfer", exception="nixl._bindings.oddError: ODD")
    for told in ("EngineCore encountered a fatal error.\n", ""):
        trace = f"{told}Traceback (most recent call last):\n{thrown}"
        gone = (
            "(APIServer pid=1) vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered "
            "an issue. See stack trace (above) for the root cause."
        )
        found = diagnose(f"{v1(trace, level='ERROR')}\n{gone}")
        assert found.failure is F.ENGINE_BUG
        assert "Correct" not in found.advice


def test_a_graph_that_is_captured_without_memory_needs_no_line_of_its_phase() -> None:
    trace = thrown(
        "torch/cuda/graphs.py:__exit__", exception="RuntimeError: CUDA error: out of memory"
    )
    assert diagnose(trace).failure is F.OOM_GRAPH_CAPTURE
