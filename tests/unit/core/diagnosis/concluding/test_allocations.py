# SPDX-License-Identifier: Apache-2.0
"""An allocation that failed is judged by what its line, its frames and the facts say."""

# ruff: noqa: E501
from __future__ import annotations

import pytest

from agent.cli.diagnose import remedy_of
from agent.core.failures.classes import FailureClass, Outcome
from tests.given.engine_logs import (
    CAPTURING,
    DEATH_AT_START,
    LOADING,
    PROFILING,
    SERVING,
    SITE,
    STARTING,
    WARMING,
    diagnose,
    failed,
    v1,
)

F = FailureClass


def oom(tried: str = "96.00 MiB", *, total: str = "23.53", private: str = "", whose: str = "Including non-PyTorch memory, this process has 23.40 GiB memory in use. ", allocated: str = "22.10 GiB") -> str:  # fmt: skip
    pools = f", with {private} allocated in private pools (e.g., CUDA Graphs)," if private else ","
    return (
        f"torch.OutOfMemoryError: CUDA out of memory. Tried to allocate {tried}. GPU 0 has a total "
        f"capacity of {total} GiB of which 11.75 MiB is free. {whose}Of the allocated memory "
        f"{allocated} is allocated by PyTorch{pools} and 612.40 MiB is reserved by PyTorch but unallocated."
    )


def frame(path: str, function: str) -> str:
    return f'  File "{SITE}/{path}", line 7, in {function}\n'


# --- where it was, with no phase line left -------------------------------------------------------


def test_private_pools_are_never_there_while_weights_load() -> None:
    started = diagnose(failed(oom(private="88.00 MiB")))
    served = diagnose(v1(oom(private="88.00 MiB"), level="ERROR"))
    assert (started.failure, served.failure) == (F.OOM_GRAPH_CAPTURE, F.OOM_RUNTIME)
    assert remedy_of(started)["setting"] == "gpu_memory_utilization"


@pytest.mark.parametrize(
    ("path", "function"),
    [
        ("vllm/model_executor/layers/fused_moe/fused_moe.py", "fused_experts"),
        ("vllm/model_executor/models/odd.py", "forward"),
        ("vllm/model_executor/layers/logits_processor.py", "compute_logits"),
    ],
)
def test_a_model_that_computes_has_its_weights(path: str, function: str) -> None:
    found = diagnose(failed(frame(path, function) + oom()))
    assert found.failure is F.OOM_PROFILE


def test_an_engine_that_was_up_ran_out_of_memory_at_work() -> None:
    died = "EngineCore encountered a fatal error.\nTraceback (most recent call last):\n"
    assert diagnose(v1(died + oom(private="44 MiB"), level="ERROR")).failure is F.OOM_RUNTIME


def test_what_nothing_tells_is_called_a_guess_and_both_ways_are_named() -> None:
    found = diagnose(v1(oom(), level="ERROR"))
    assert found.transient is None
    why = str(remedy_of(found)["why"])
    assert "does not show" in why
    assert "lower gpu_memory_utilization" in why
    assert "no gpu_memory_utilization helps" not in why


def test_what_is_bigger_than_the_card_is_no_weight() -> None:
    """torch names a card of 23.53 GiB, and 60 GiB were asked for."""
    found = diagnose(v1(oom("60.00 GiB"), level="ERROR"))
    assert (found.failure, found.transient) == (F.OOM_PROFILE, None)
    assert "bigger than the card" in found.advice
    while_loading = failed(
        frame("vllm/model_executor/model_loader/odd.py", "load_weights") + oom("60.00 GiB")
    )
    assert diagnose(while_loading).failure is F.OOM_WEIGHTS_LOAD


def test_a_drafter_that_does_not_fit_is_named() -> None:
    loads = frame("vllm/v1/worker/gpu_model_runner.py", "load_model")
    drafter = loads + frame("vllm/v1/spec_decode/odd.py", "load_model")
    found = diagnose(f"{LOADING}\n{failed(drafter + oom('1.00 GiB'))}")
    assert (found.failure, found.transient) == (F.OOM_WEIGHTS_LOAD, False)
    assert "draft model" in found.advice
    other = diagnose(f"{LOADING}\n{failed(loads + oom('1.00 GiB'))}")
    assert "draft model" not in other.advice


def test_a_forward_pass_before_any_graph_is_told_as_one() -> None:
    """The KV cache is there, no graph is: its memory is what a smaller share frees."""
    warms = frame("vllm/v1/worker/gpu_worker.py", "compile_or_warm_up_model")
    forward = warms + frame("vllm/model_executor/models/odd.py", "forward")
    found = diagnose(f"{WARMING}\n{failed(forward + oom('900.00 MiB'))}")
    assert found.failure is F.OOM_GRAPH_CAPTURE
    assert "before any graph" in found.advice
    assert remedy_of(found)["setting"] == "gpu_memory_utilization"
    captured = diagnose(f"{CAPTURING}\n{failed(forward + oom('900.00 MiB', private='0.40 GiB'))}")
    assert "before any graph" not in captured.advice


# --- whose memory it is ---------------------------------------------------------------------------


def test_in_a_container_the_process_itself_is_no_stranger() -> None:
    itself = oom(
        total="79.18", whose="Process 440210 has 79.13 GiB memory in use. ", allocated="78.00 GiB"
    )
    found = diagnose(f"{LOADING}\n{failed(itself)}{DEATH_AT_START}")
    assert found.failure is F.OOM_WEIGHTS_LOAD
    assert (found.numbers.neighbour_gib, found.numbers.own_gib) == (None, 79.13)
    assert remedy_of(found)["action"] == "hold"


def test_a_stranger_stays_one() -> None:
    beside = oom(
        total="79.18",
        whose="Process 7 has 30.00 GiB memory in use. Process 8 has 48.9 GiB memory in use. ",
        allocated="48.00 GiB",
    )
    found = diagnose(f"{LOADING}\n{failed(beside)}{DEATH_AT_START}")
    assert found.numbers.neighbour_gib == 30.0
    named = oom(
        total="79.18",
        whose="Process 7 has 48.50 GiB memory in use. Including non-PyTorch memory, this process has 30.6 GiB memory in use. ",
        allocated="48.00 GiB",
    )
    assert diagnose(f"{LOADING}\n{failed(named)}").numbers.neighbour_gib == 48.5


# --- what helps, by the numbers -------------------------------------------------------------------


def test_weights_that_fill_the_card_leave_no_room_for_a_smaller_peak() -> None:
    log = LOADING + "\n" + v1("Model loading took 14.21 GiB memory and 51.0 seconds")
    found = diagnose(f"{log}\n{failed(oom('1.02 GiB', total='15.60'))}{DEATH_AT_START}")
    assert found.failure is F.OOM_WEIGHTS_LOAD
    assert "14.21 of 15.6 GiB" in str(remedy_of(found)["why"])


def test_a_peak_beside_small_weights_is_lowered() -> None:
    log = LOADING + "\n" + v1("Model loading took 4.21 GiB memory and 51.0 seconds")
    found = diagnose(f"{log}\n{failed(oom('1.02 GiB', total='15.60'))}{DEATH_AT_START}")
    assert (found.failure, remedy_of(found)["action"]) == (F.OOM_PROFILE, "lower")


def test_the_peak_of_images_is_not_lowered_by_fewer_sequences() -> None:
    log = LOADING + "\n" + v1("Model loading took 4.21 GiB memory and 51.0 seconds")
    trace = frame("vllm/model_executor/models/odd_vl.py", "_process_image_input") + oom(
        "6.02 GiB", total="23.60"
    )
    remedy = remedy_of(diagnose(f"{log}\n{failed(trace)}{DEATH_AT_START}"))
    assert remedy["action"] == "hold"
    assert "--limit-mm-per-prompt" in str(remedy["why"])


def test_graphs_that_vllm_estimates_itself_cost_one_step() -> None:
    log = STARTING.replace("0.28.0", "0.19.1") + v1("Estimated CUDA graph memory: 2.40 GiB total")
    log += CAPTURING.removeprefix(STARTING)
    remedy = remedy_of(
        diagnose(f"{log}\n{failed(oom(total='24.00', private='1 GiB'))}{DEATH_AT_START}")
    )
    assert (remedy["setting"], remedy["value"]) == ("gpu_memory_utilization", 0.8)
    told = log + v1(
        "\nset VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS=1 and increase --gpu-memory-utilization from 0.9000 to 0.9600 to maintain the same effective KV cache size."
    )
    unknown_card = f"{told}\n{failed('torch.AcceleratorError: CUDA error: out of memory')}"
    assert remedy_of(diagnose(unknown_card))["value"] == 0.84


def test_graphs_that_are_counted_already_are_not_taken_off_twice() -> None:
    log = (
        STARTING
        + v1("Estimated CUDA graph memory: 2.40 GiB total")
        + CAPTURING.removeprefix(STARTING)
    )
    remedy = remedy_of(
        diagnose(f"{log}\n{failed(oom(total='24.00', private='1 GiB'))}{DEATH_AT_START}")
    )
    assert remedy["value"] == 0.87


def test_memory_that_the_host_shares_has_advice_of_its_own() -> None:
    log = v1("Found NVIDIA GB10 which is of cuda capability 12.1.") + LOADING
    found = diagnose(f"{log}\n{failed('torch.AcceleratorError: CUDA error: out of memory')}")
    assert "kv_cache_memory_bytes" in found.advice


def test_a_batch_below_a_block_is_raised_to_the_printed_size() -> None:
    found = diagnose(
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for VllmConfig\n"
        "  Assertion failed, In Mamba cache align mode, block_size (2096) must be <= max_num_batched_tokens (2048). [type=assertion_error, input_value=ArgsKwargs(()), input_type=ArgsKwargs]"
    )
    remedy = remedy_of(found)
    assert (remedy["action"], remedy["setting"], remedy["value"]) == (
        "raise",
        "max_num_batched_tokens",
        2096,
    )


def test_a_sleeper_that_cannot_wake_still_serves() -> None:
    woken = v1(
        "Call to wake_up method failed\nTraceback (most recent call last):\n"
        + frame("vllm/v1/worker/gpu_worker.py", "wake_up")
        + "RuntimeError: CUDA Error: out of memory at csrc/cumem_allocator.cpp:139",
        level="ERROR",
    )
    found = diagnose(f"{SERVING}\n{woken}")
    assert (found.outcome, found.failure) == (Outcome.DEGRADED, F.OOM_WAKE_UP)
    assert remedy_of(found)["action"] == "report"


# --- gone without a word --------------------------------------------------------------------------

LEFT = "/usr/lib/python3.12/multiprocessing/resource_tracker.py:254: UserWarning: resource_tracker: There appear to be 2 leaked shared_memory objects to clean up at shutdown"


def test_what_python_cleans_up_behind_a_server_tells_that_it_was_killed() -> None:
    found = diagnose(f"{SERVING}\n{LEFT}")
    assert (found.outcome, found.failure) == (Outcome.FAILED, F.ENGINE_DEAD)
    assert "journalctl -k" in str(remedy_of(found)["why"])


DONE = "Processed prompts: 100%|####| 20/20 [00:30<00:00,  1.52s/it, est. speed input: 6650.61 toks/s, output: 10.55 toks/s]"
HALF = "Processed prompts:  31%|#   | 31/100 [07:15<1:03:00, 54.78s/it, est. speed input: 51.42 toks/s, output: 59.69 toks/s]"


@pytest.mark.parametrize(
    "bars", [DONE, f"{HALF}\r{DONE}", f"{HALF}\n{DONE}\nParis is the capital."]
)
def test_the_same_behind_a_program_that_has_all_its_answers_is_harmless(bars: str) -> None:
    found = diagnose(f"{STARTING}\n{bars}\n{LEFT}")
    assert (found.outcome, found.failure) == (Outcome.RUNNING, None)


@pytest.mark.parametrize("bars", [HALF, f"{DONE}\n{HALF}", f"{DONE}\r{HALF}"])
def test_a_program_that_waits_for_answers_was_killed(bars: str) -> None:
    found = diagnose(f"{STARTING}\n{bars}\n{LEFT}")
    assert (found.outcome, found.failure) == (Outcome.FAILED, F.ENGINE_DEAD)


def test_a_shell_that_tells_of_the_kill_is_believed_behind_answers_too() -> None:
    found = diagnose(f"{STARTING}\n{DONE}\n/start.sh: line 7:    77 Killed     python ask.py")
    assert (found.outcome, found.failure) == (Outcome.FAILED, F.ENGINE_DEAD)


def test_the_same_behind_a_stop_or_before_more_work_is_harmless() -> None:
    stop = "\n(APIServer pid=1) INFO 11-21 04:00:00 [launcher.py:2] Shutting down FastAPI HTTP server.\n"
    assert diagnose(SERVING + stop + LEFT).outcome is Outcome.STOPPED
    more = 'INFO:     10.0.0.2:4000 - "POST /v1/completions HTTP/1.1" 200 OK'
    assert diagnose(f"{SERVING}\n{LEFT}\n{more}").outcome is Outcome.READY


def test_a_boot_in_the_middle_of_work_is_a_reset() -> None:
    found = diagnose(f"{SERVING}\n-- Boot 0123456789abcdef0123456789abcdef --")
    assert (found.outcome, found.failure, found.transient) == (Outcome.FAILED, F.HOST_RESET, True)


def test_a_log_that_ends_in_the_middle_is_never_called_fine() -> None:
    for log in (PROFILING, SERVING):
        assert "if this process is gone" in str(remedy_of(diagnose(log))["why"])


@pytest.mark.parametrize(
    "line",
    ["vllm-1 exited with code 137", "    Exit Code:    137", "Exited (137) 2 minutes ago", "container exit code 137"],
)  # fmt: skip
def test_exit_137_is_a_kill(line: str) -> None:
    assert diagnose(f"{SERVING}\n{line}").failure is F.ENGINE_DEAD


def test_a_server_that_was_stopped_unused_swallowed_nothing_before_016() -> None:
    log = SERVING.rsplit("\n", 1)[0].replace("0.28.0", "0.9.2")
    log = (
        "(APIServer pid=1) INFO 11-21 03:05:00 [api_server.py:1] vLLM API server version 0.9.2\n"
        + log
    )
    stop = (
        "\n(APIServer pid=1) INFO 11-21 04:00:00 [launcher.py:2] Shutting down FastAPI HTTP server."
    )
    assert diagnose(log + stop).failure is F.SHUTDOWN_SIGTERM


# --- what a smaller setting cannot do ------------------------------------------------------------

ASKED = v1("non-default args: {'model': '/srv/m', 'gpu_memory_utilization': 0.9}", "APIServer pid=1")  # fmt: skip


def weights_of(gib: str) -> str:
    loaded = v1(f"Model loading took {gib} GiB memory and 31.2 seconds")
    return f"{ASKED}\n{PROFILING}\n{loaded}\n"


def test_a_peak_of_images_is_lowered_by_fewer_images_however_big_it_is() -> None:
    images = frame("vllm/model_executor/models/odd_vl.py", "_process_image_input")
    found = diagnose(weights_of("16.1") + failed(images + oom("9.52 GiB")))
    assert found.failure is F.OOM_PROFILE
    assert "--limit-mm-per-prompt" in found.advice


def test_half_of_a_big_peak_may_fit_beside_weights_that_leave_a_third_of_the_card() -> None:
    found = diagnose(weights_of("14.0") + failed(oom("9.60 GiB")))
    assert found.failure is F.OOM_PROFILE
    assert remedy_of(found)["action"] == "lower"


def test_weights_fill_a_card_in_a_container_too_where_the_process_has_another_number() -> None:
    own = "Process 190233 has 23.40 GiB memory in use. "
    found = diagnose(weights_of("22.3") + failed(oom("1.00 GiB", whose=own, allocated="22.5 GiB")))
    assert found.failure is F.OOM_WEIGHTS_LOAD
    assert "22.3 of 23.53 GiB" in found.advice


def test_a_card_without_room_for_a_context_is_not_helped_by_a_lower_share() -> None:
    asked = frame("torch/cuda/memory.py", "mem_get_info")
    found = diagnose(STARTING + failed(f"{asked}torch.AcceleratorError: CUDA error: out of memory"))
    remedy = remedy_of(found)
    assert (found.failure, remedy["action"]) == (F.OOM_FREE_MEM_STARTUP, "restart")
    assert "drop_caches" in str(remedy["why"])


def test_a_video_that_breaks_a_server_is_told_beside_the_step_that_is_taken() -> None:
    video = frame("vllm/model_executor/models/odd_vl.py", "_process_video_input")
    dead = v1(f"EngineCore encountered a fatal error.\n{video}{oom('11.25 GiB')}", level="ERROR")
    remedy = remedy_of(diagnose(SERVING + dead))
    assert remedy["setting"] == "gpu_memory_utilization"
    assert "--mm-processor-kwargs" in str(remedy["why"])


def test_the_sleeper_s_allocator_says_by_the_phase_whether_it_is_a_sleeper_that_wakes() -> None:
    full = "RuntimeError: CUDA Error: out of memory at /src/csrc/cumem_allocator.cpp:139"
    waking = v1(f"Invocation of wake_up method failed\n{full}", level="ERROR")
    assert diagnose(f"{SERVING}\n{waking}").failure is F.OOM_WAKE_UP
    assert diagnose(LOADING + failed(full)).failure is F.OOM_WEIGHTS_LOAD


@pytest.mark.parametrize(
    "order", [("3311 has 14.10", "3312 has 8.90"), ("3312 has 8.90", "3311 has 14.10")]
)
def test_of_two_processes_in_a_container_the_one_that_holds_what_torch_allocated_is_ours(
    order: tuple[str, str],
) -> None:
    named = "".join(f"Process {one} GiB memory in use. " for one in order)
    found = diagnose(LOADING + failed(oom("224.00 MiB", whose=named, allocated="8.20 GiB")))
    remedy = remedy_of(found)
    assert found.failure is F.OOM_WEIGHTS_LOAD
    assert (found.transient, found.numbers.neighbour_pid, found.numbers.own_gib) == (
        None,
        3311,
        8.9,
    )
    assert (remedy["action"], "14.1 GiB and may leave" in str(remedy["why"])) == ("restart", True)
