# SPDX-License-Identifier: Apache-2.0
"""What a client's data makes libraries print in the journal of a server changes no later class."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from agent.core.diagnosis.reader import Diagnosis, LogReader
from agent.core.failures.classes import FailureClass, Outcome
from agent.core.unit.container import WENT_ON
from tests.given.engine_logs import SERVING, SIGNATURES, read
from tests.given.hostile.libraries import API, ENGINE, PACKAGES, PRINTED

F = FailureClass
START = SERVING.strip("\n").split("\n")
DEATH = (
    f"{API}ERROR 11-28 16:50:00 [core_client.py:612] Engine core proc EngineCore_DP0 died "
    "unexpectedly, shutting down client."
)
KNOWN = [example for known in SIGNATURES.signatures for example in known.examples]
KNOWN += [example for rule in SIGNATURES.places.rules for example in rule.examples]
EXAMPLES = [words.replace("\n", " ") for words in KNOWN if not words.startswith(" ")]
"""What begins with blanks is the rest of something."""

WRITERS = SIGNATURES.writers
assert WRITERS is not None
NATIVE = [words for words in EXAMPLES if WRITERS.native.match(words) is not None]
"""What begins as libraries, uvicorn, the shell and systemd begin their own lines."""

LINES_OF_THEIR_OWN = ("a schema over lines", "a panic", "flags over lines")
"""Channels in which a client's words stand on a line of their own."""

OF_DOCKER = "error waiting for container: "
"""What docker says in logrus's form of a server at work."""

NOW = 1_000.0
LATER = 0.001
"""Longer than two lines of one write are apart."""

SERVER_PID, ENGINE_PID = 4711, 4712
"""Processes of the host that wrote lines, as the journal knows them."""


def concluded(lines: Iterable[str], apart: float = 0.0) -> tuple[Diagnosis, Diagnosis]:
    """Return what the journal of a server shows behind these lines, and once it has died."""
    reader = read(START)
    for number, line in enumerate(lines):
        reader.feed(line, NOW + number * apart)
    before = reader.diagnosis()
    reader.feed(DEATH, NOW + 60.0)
    return before, reader.diagnosis()


def test_what_docker_and_our_unit_say_of_a_daemon_is_heard_of_a_server_at_work() -> None:
    went = (
        'time="2026-11-29T00:24:19Z" level=error msg="error waiting for container: unexpected EOF"'
    )
    before, after = concluded([went], apart=LATER)
    assert before.failure is F.CONTAINER_DAEMON
    before, after = concluded([went, WENT_ON], apart=LATER)
    assert before.outcome is Outcome.READY
    assert (after.failure, after.also) == (F.ENGINE_DEAD, ())


@pytest.mark.parametrize("channel", PRINTED)
def test_what_a_library_prints_of_a_request_is_no_cause(channel: str) -> None:
    steered = []
    for words in EXAMPLES:
        if words.startswith(OF_DOCKER):
            continue
        before, after = concluded(PRINTED[channel](words))
        if before.outcome is not Outcome.READY or (after.failure, after.also) != (
            F.ENGINE_DEAD,
            (),
        ):
            steered.append(words)
    assert steered == []


@pytest.mark.parametrize("apart", [LATER, 0.3])
@pytest.mark.parametrize("channel", PRINTED)
def test_lines_that_a_library_prints_one_by_one_are_no_cause(channel: str, apart: float) -> None:
    """Their times do not show that they belong together; the first one's form does."""
    steered = []
    for words in [*EXAMPLES[::18], *(NATIVE if channel in LINES_OF_THEIR_OWN else NATIVE[::9])]:
        before, after = concluded(PRINTED[channel](words), apart)
        if before.outcome is not Outcome.READY or (after.failure, after.also) != (
            F.ENGINE_DEAD,
            (),
        ):
            steered.append(words)
    assert steered == []


def as_the_start_was() -> LogReader:
    """Return a reader that has seen the start of a server as the journal of a host has it."""
    reader = LogReader(SIGNATURES)
    for number, line in enumerate(START):
        engine = line.startswith("(EngineCore")
        reader.feed(line, NOW - 100.0 + number, pid=ENGINE_PID if engine else SERVER_PID)
    assert reader.ready
    return reader


def test_a_process_of_the_journal_speaks_as_no_other_process_of_vllm() -> None:
    steered = []
    for words in EXAMPLES[::9]:
        reader = as_the_start_was()
        reader.feed(f"{ENGINE}ERROR 11-28 16:34:02 [core.py:9] {words}", NOW, pid=SERVER_PID)
        reader.feed(DEATH, NOW + 60.0, pid=SERVER_PID)
        after = reader.diagnosis()
        if (after.failure, after.also) != (F.ENGINE_DEAD, ()):
            steered.append(words)
    assert steered == []


def test_what_came_in_one_write_with_a_librarys_words_is_no_record_of_vllm() -> None:
    steered = []
    for words in EXAMPLES[::9]:
        reader = as_the_start_was()
        reader.feed("[16:34:02] /project/cpp/json.cc:73: Warning: odd", NOW, pid=ENGINE_PID)
        for line in ("schema:", f"{ENGINE}ERROR 11-28 16:34:02 [core.py:9] {words}"):
            reader.feed(line, NOW, pid=ENGINE_PID)
        reader.feed(DEATH, NOW + 60.0, pid=SERVER_PID)
        after = reader.diagnosis()
        if (after.failure, after.also) != (F.ENGINE_DEAD, ()):
            steered.append(words)
    assert steered == []


@pytest.mark.parametrize(
    ("line", "pid", "stopped"),
    [
        ("INFO:     Shutting down", SERVER_PID, True),
        ("INFO:     Shutting down", ENGINE_PID, False),
        ("vllm.service: Main process exited, code=killed, status=9/KILL", ENGINE_PID, False),
        ("vllm.service: Main process exited, code=killed, status=9/KILL", SERVER_PID, False),
    ],
)
def test_systemd_and_uvicorn_speak_by_their_own_processes(
    line: str, pid: int, stopped: bool
) -> None:
    reader = as_the_start_was()
    reader.feed(line, NOW, pid=pid)
    assert reader.diagnosis().outcome is (Outcome.STOPPED if stopped else Outcome.READY)


def test_an_engine_that_crashes_is_heard_while_a_library_talks_in_the_server() -> None:
    reader = as_the_start_was()
    reader.feed("thread '<unnamed>' panicked at src/lib.rs:99:5:", NOW, pid=SERVER_PID)
    reader.feed("Fatal Python error: Segmentation fault", NOW + LATER, pid=ENGINE_PID)
    reader.feed(DEATH, NOW + 1.0, pid=SERVER_PID)
    assert reader.diagnosis().failure is F.NATIVE_CRASH


def test_one_client_that_carries_all_lines_of_a_container_tells_nobody_apart() -> None:
    reader = LogReader(SIGNATURES)
    for number, line in enumerate(START):
        reader.feed(line, NOW - 100.0 + number, pid=SERVER_PID)
    reader.feed(
        f"{ENGINE}ERROR 11-28 16:49:00 [core.py:700] torch.AcceleratorError: CUDA error: an "
        "illegal memory access was encountered",
        NOW,
        pid=SERVER_PID,
    )
    reader.feed(DEATH, NOW + 1.0, pid=SERVER_PID)
    assert reader.diagnosis().failure is F.CUDA_ILLEGAL_MEMORY_ACCESS


def test_who_says_that_docker_is_away_relays_nothing_any_more() -> None:
    record = f'time="2026-11-29T00:24:19Z" level=error msg="{OF_DOCKER}unexpected EOF"'
    before, after = concluded([record], apart=LATER)
    assert before.failure is F.CONTAINER_DAEMON
    assert (after.failure, after.also) == (F.ENGINE_DEAD, ())


def test_work_of_the_engine_shows_that_it_did_not_die_of_what_was_printed() -> None:
    """A library that begins a line as NCCL does, and goes on with a client's words."""
    said = "gpu-1:9:9 [0] transport/net_ib.cc:787 NCCL WARN Call to ibv_reg_mr failed with error x"
    worked = (
        f"{API}INFO 11-28 16:50:40 [loggers.py:127] Engine 000: Avg prompt throughput: 9.0 "
        "tokens/s, Avg generation throughput: 99.0 tokens/s, Running: 1 reqs, Waiting: 0 reqs"
    )
    dead = DEATH.replace("16:50:00", "16:51:00")
    for lines, failure in ((said,), F.NCCL_ERROR), ((said, worked), F.ENGINE_DEAD):
        reader = read(START)
        reader.feed(f"{ENGINE}INFO 11-28 16:50:00 [core.py:9] odd", NOW)
        for number, line in enumerate(lines, 1):
            reader.feed(line, NOW + 40.0 * number)
        reader.feed(dead, NOW + 60.0)
        assert reader.diagnosis().failure is failure


def test_a_request_that_ended_the_loop_of_an_old_engine_does_not_choose_the_class() -> None:
    """MQLLMEngine (0.6 to 0.10) died of it; what it was called is the frames' to say.

    Words that wrap a cause elsewhere leave it open; so does what looks like a request's answer.
    """
    found = set()
    for words in EXAMPLES:
        if ' - "' in words:
            continue
        reader = read(START)
        for line in (
            "Traceback (most recent call last):",
            f'  File "{PACKAGES}/vllm/engine/multiprocessing/engine.py", line 9, in engine_step',
            "    return self.engine.step()",
            f"ValueError: {words}",
        ):
            reader.feed(f"ERROR 11-28 16:34:02 engine.py:159] {line}", NOW)
        reader.feed(DEATH, NOW + 60.0)
        found.add(reader.diagnosis().failure)
    assert found <= {F.ENGINE_BUG, F.UNKNOWN}


@pytest.mark.parametrize("step", ["execute_model", "sample_tokens"])
def test_a_worker_that_a_step_of_the_engine_ended_is_placed_by_its_frames(step: str) -> None:
    reader = read(START)
    for line in (
        "WorkerProc hit an exception.",
        "Traceback (most recent call last):",
        f'  File "{PACKAGES}/vllm/v1/worker/gpu_worker.py", line 9, in {step}',
        "    output = self.model_runner.step()",
        f'  File "{PACKAGES}/vllm/v1/worker/gpu_model_runner.py", line 99, in _odd',
        "    raise RuntimeError(odd)",
        "RuntimeError: odd things that no signature names",
    ):
        reader.feed(
            f"(Worker_TP1 pid=55) ERROR 11-28 16:49:00 [multiproc_executor.py:9] {line}", NOW
        )
    reader.feed(DEATH, NOW + 60.0)
    assert "odd things" in reader.diagnosis().evidence[0]


@pytest.mark.parametrize("channel", PRINTED)
def test_what_the_engine_dies_of_behind_it_is_read(channel: str) -> None:
    reader = read([*START])
    for line in PRINTED[channel]("odd words"):
        reader.feed(line, NOW)
    for line in (
        "Traceback (most recent call last):",
        f'  File "{PACKAGES}/vllm/v1/engine/core.py", line 9, in run_busy_loop',
        "    self._process_engine_step()",
        "torch.AcceleratorError: CUDA error: an illegal memory access was encountered",
    ):
        reader.feed(f"{ENGINE}ERROR 11-28 16:49:00 [core.py:700] {line}", NOW + 1.0)
    reader.feed(DEATH, NOW + 60.0)
    assert reader.diagnosis().failure is F.CUDA_ILLEGAL_MEMORY_ACCESS


@pytest.mark.parametrize(
    ("last_words", "failure"),
    [
        (
            [
                "[rank1]:[E1121 02:11:04.532 ProcessGroupNCCL.cpp:616] [Rank 1] Watchdog caught "
                "collective operation timeout: WorkNCCL(SeqNum=7, OpType=ALLREDUCE) ran for 600000 "
                "milliseconds before timing out."
            ],
            F.NCCL_TIMEOUT,
        ),
        (
            [
                "terminate called after throwing an instance of 'c10::AcceleratorError'",
                "  what():  CUDA error: an illegal memory access was encountered",
            ],
            F.CUDA_ILLEGAL_MEMORY_ACCESS,
        ),
        (
            [
                "Traceback (most recent call last):",
                f'  File "{PACKAGES}/vllm/v1/worker/gpu_worker.py", line 9, in execute_model',
                "torch.AcceleratorError: CUDA error: device-side assert triggered",
            ],
            F.CUDA_ASSERT,
        ),
    ],
)
def test_the_last_words_of_a_library_come_through(
    last_words: list[str], failure: FailureClass
) -> None:
    _, after = concluded(last_words)
    assert after.failure is failure


@pytest.mark.parametrize("words", EXAMPLES[::9])
def test_the_rest_of_a_line_that_journald_cut_is_not_judged_by_itself(words: str) -> None:
    reader = read(START)
    reader.feed("[odd @ 0x1] " + "x" * 49_000, NOW)
    reader.feed(words, NOW + 1.0, goes_on=True)
    assert reader.diagnosis().outcome is Outcome.READY
    reader.feed(DEATH, NOW + 60.0)
    assert (reader.diagnosis().failure, reader.diagnosis().also) == (F.ENGINE_DEAD, ())
