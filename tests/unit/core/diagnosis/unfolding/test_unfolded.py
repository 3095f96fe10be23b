# SPDX-License-Identifier: Apache-2.0
"""A log has one answer, in whatever form it was pasted or exported; what is no form stays."""

from __future__ import annotations

from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cli.diagnose import read
from agent.core.diagnosis.carried.services import ServicesReader
from agent.core.diagnosis.reader import Diagnosis
from agent.core.diagnosis.unfolding.unfolded import MAX_TEXT, unfolded
from agent.core.failures.classes import FailureClass as F
from agent.core.failures.classes import Outcome
from agent.host.data.signatures import load_signatures
from tests.given.engine_logs import ALLOCATION, SERVING, WARMING, died_in, v1
from tests.given.pasted.forms import FORMS, PARAGRAPHS, broken

SIGNATURES = load_signatures()
LOGS: dict[str, tuple[str, F | None]] = {
    "a kernel": (
        died_in(
            "vllm/v1/worker/gpu_worker.py:determine_available_memory",
            "vllm/v1/worker/gpu_model_runner.py:profile_run",
            "triton/runtime/jit.py:run",
            exception="ValueError: odd",
        ),
        F.KERNEL_LIBRARY,
    ),
    "graphs": (
        died_in(
            "vllm/v1/worker/gpu_model_runner.py:capture_model",
            "torch/cuda/graphs.py:__exit__",
            exception=ALLOCATION,
        ),
        F.OOM_GRAPH_CAPTURE,
    ),
    "a cache": (
        died_in(
            "vllm/v1/core/kv_cache_utils.py:check_enough_kv_cache_memory",
            exception="ValueError: No available memory for the cache blocks. Try increasing "
            "`gpu_memory_utilization` when initializing the engine.",
        ),
        F.OOM_KV_NONE,
    ),
    "a port": (
        f"{WARMING}\nOSError: [Errno 98] Address already in use",
        F.PORT_IN_USE,
    ),
    "a server": (SERVING, None),
    "a death at work": (
        SERVING
        + "\n"
        + v1(
            "EngineCore encountered a fatal error.\nTraceback (most recent call last):\n"
            '  File "/opt/vllm/v1/engine/core.py", line 7, in run_busy_loop\n'
            f"    odd()\n{ALLOCATION}",
            level="ERROR",
        ),
        F.OOM_RUNTIME,
    ),
}


def lines_of(log: str) -> list[str]:
    return log.strip("\n").split("\n")


def told(text: str | bytes) -> Diagnosis:
    """Return what the command tells of a file."""
    reader = ServicesReader(SIGNATURES)
    raw = text if isinstance(text, bytes) else text.encode()
    read(BytesIO(raw), reader, "a file")
    return next((service.diagnosis for service in reader.services()), reader.diagnosis())


@pytest.mark.parametrize("log", LOGS)
def test_the_logs_here_have_the_answers_that_forms_must_keep(log: str) -> None:
    text, failure = LOGS[log]
    assert told(text).failure is failure
    assert (told(text).outcome is Outcome.READY) == (failure is None)


@pytest.mark.parametrize("log", LOGS)
@pytest.mark.parametrize("form", FORMS)
def test_a_form_has_the_answer_of_the_plain_log(form: str, log: str) -> None:
    plain = told(LOGS[log][0])
    found = told(FORMS[form](lines_of(LOGS[log][0])))
    assert (found.failure, found.outcome) == (plain.failure, plain.outcome)


@pytest.mark.parametrize("log", LOGS)
@pytest.mark.parametrize("form", PARAGRAPHS)
def test_a_paragraph_is_broken_where_lines_begin(form: str, log: str) -> None:
    """Where an exception without a traceback begins is not to be seen: then no cause is named."""
    plain = told(LOGS[log][0])
    found = told(PARAGRAPHS[form](lines_of(LOGS[log][0])))
    bare = "Traceback" not in LOGS[log][0]
    assert found.failure is plain.failure or (bare and found.failure is None)


@pytest.mark.parametrize("log", LOGS)
def test_a_file_of_a_windows_shell_is_read(log: str) -> None:
    text = "\r\n".join(lines_of(LOGS[log][0]))
    plain = told(LOGS[log][0])
    for raw in (text.encode("utf-16"), b"\xef\xbb\xbf" + text.encode()):
        assert told(raw).failure is plain.failure


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([*LOGS]), st.integers(70, 230), st.booleans())
def test_lines_are_joined_at_any_width(log: str, width: int, blanks: bool) -> None:
    text, failure = LOGS[log]
    assert told(broken(width, blanks=blanks)(lines_of(text))).failure is failure


@pytest.mark.parametrize("log", LOGS)
def test_a_plain_log_stays_as_it_is(log: str) -> None:
    text = "".join(f"{line}\n" for line in lines_of(LOGS[log][0]))
    assert unfolded(text) == text


QUOTED = (
    "(EngineCore pid=42) ERROR 11-21 03:05:45 [core.py:97] EngineCore encountered a fatal error."
)
REQUEST = "INFO 11-21 03:05:45 [logger.py:39] Received request cmpl-1: prompt: '{}', params: Odd()"
BREAKS = ("\\n", "<br>", " ", "</p>")


@pytest.mark.parametrize("mark", BREAKS)
def test_what_a_client_wrote_is_broken_into_no_lines_of_the_log(mark: str) -> None:
    """A prompt may hold whatever looks like a log; vLLM prints it in quotes, in one line."""
    prompt = mark.join(["odd", QUOTED, "Traceback (most recent call last):", ALLOCATION, "odd"])
    request = REQUEST.format(prompt)
    assert unfolded(f"{request}\n") == f"{request}\n"
    assert told(f"{request}\n").failure is None


@pytest.mark.parametrize("form", ["json-file", "journalctl -o json", "a list of YAML", "a table"])
@pytest.mark.parametrize("mark", BREAKS)
def test_nor_behind_what_carries_it(form: str, mark: str) -> None:
    prompt = mark.join(["odd", QUOTED, "Traceback (most recent call last):", ALLOCATION, "odd"])
    log = [REQUEST.format(prompt), "INFO 11-21 03:05:46 [logger.py:39] odd"]
    assert told(FORMS[form](log)).failure is None


def test_lines_that_a_program_cut_off_are_not_joined() -> None:
    cut = [f"Nov 20 10:00:0{n} gpu-1 vllm[4711]: {'x' * 45}…" for n in range(9)]
    text = "".join(f"{line}\n" for line in cut)
    assert unfolded(text) == text


def test_a_clock_that_is_set_back_once_turns_no_log() -> None:
    times = ["10:00:01", "10:00:02", "10:00:03", "09:00:01", "09:00:02", "09:00:03"]
    text = "".join(f"2026-11-20T{time}Z odd {n}\n" for n, time in enumerate(times))
    assert unfolded(text) == text


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="aE1 |,>-\"'\\n{}[]:<br>./\t\n(pid=)", max_size=400))
def test_any_text_is_unfolded(text: str) -> None:
    found = unfolded(text)
    assert found in ("", text) or found.endswith("\n")


def test_a_long_log_is_read_as_it_was_written() -> None:
    text = "odd\n" * (MAX_TEXT // 4) + LOGS["graphs"][0]
    assert told(text).failure is F.OOM_GRAPH_CAPTURE
