# SPDX-License-Identifier: Apache-2.0
"""What a client, or another program, can write into vLLM's log changes nothing of what it shows."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from agent.core.diagnosis.reader import Diagnosis
from agent.core.failures.classes import FailureClass, Outcome
from tests.given.engine_logs import ALLOCATION, CARRIERS, SERVING, SIGNATURES, diagnose, read, v1
from tests.given.hostile.words import API, CHANNELS

F = FailureClass
REFUSED = 'INFO:     10.0.0.1:5 - "GET /health HTTP/1.1" 503 Service Unavailable'

DEATH = [
    "(APIServer pid=1) ERROR 11-28 16:50:00 [core_client.py:612] Engine core proc EngineCore_DP0 "
    "died unexpectedly, shutting down client.",
]
START = SERVING.strip("\n").split("\n")


def concluded(said: Iterable[str]) -> Diagnosis:
    reader = read([*START, *said])
    assert reader.diagnosis().outcome is Outcome.READY, list(said)
    for line in DEATH:
        reader.feed(line)
    return reader.diagnosis()


EXAMPLES = [example for s in SIGNATURES.signatures for example in s.examples] + [
    example for rule in SIGNATURES.places.rules for example in rule.examples
]


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_clients_words_never_name_what_happened(channel: str) -> None:
    plain = concluded(())
    assert plain.failure is F.ENGINE_DEAD
    steered = [words for words in EXAMPLES if concluded(CHANNELS[channel](words)) != plain]
    assert steered == []


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("carrier", ["journal", "docker", "compose", "journal-json"])
def test_whatever_carries_them(channel: str, carrier: str) -> None:
    for words in ("NVMLError_GpuIsLost: GPU is lost", f"torch.{ALLOCATION[6:]}"):
        lines = [*START, *CHANNELS[channel](words), *DEATH]
        found = diagnose([CARRIERS[carrier](line) for line in lines])
        assert (found.failure, found.also) == (F.ENGINE_DEAD, ())


@pytest.mark.parametrize("channel", CHANNELS)
def test_what_the_engine_says_behind_them_is_read(channel: str) -> None:
    said = [
        *START,
        *CHANNELS[channel]("don't read `this"),
        *v1(ALLOCATION, level="ERROR").split("\n"),
    ]
    assert diagnose([*said, *DEATH]).failure is F.OOM_RUNTIME


@pytest.mark.parametrize(
    ("line", "failure"),
    [
        (
            "(APIServer pid=1) WARNING 11-28 16:50:00 [core_client.py:612] [shutdown] MPClient: "
            "engine core exited unexpectedly; starting cleanup",
            F.ENGINE_DEAD,
        ),
        (
            "(APIServer pid=1) ERROR 11-28 16:50:00 [async_llm.py:704] "
            "vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue.",
            F.ENGINE_DEAD,
        ),
        (
            "(EngineCore pid=42) WARNING 11-28 16:50:00 [gpu_worker.py:9] RuntimeError: CUDA error:"
            " an illegal memory access was encountered",
            F.CUDA_ILLEGAL_MEMORY_ACCESS,
        ),
        (
            "(APIServer pid=1) ERROR 11-28 16:50:00 [utils.py:9] torch.AcceleratorError: CUDA "
            "error: device-side assert triggered",
            F.CUDA_ASSERT,
        ),
    ],
)
def test_vllms_own_word_counts_behind_a_tag_a_name_or_an_exception(
    line: str, failure: FailureClass
) -> None:
    said = diagnose([*START, line])
    assert said.failure is failure, said


def test_a_bare_traceback_behind_a_finished_request_is_read() -> None:
    died = [
        "Traceback (most recent call last):",
        '  File "/opt/vllm/lib/python3.12/site-packages/vllm/v1/engine/core.py", line 9, in step',
        "RuntimeError: CUDA error: an illegal memory access was encountered",
    ]
    found = diagnose([*START, *CHANNELS["prompt"]("hello"), *died, *DEATH])
    assert found.failure is F.CUDA_ILLEGAL_MEMORY_ACCESS


def test_an_engine_that_died_is_known_by_what_the_server_answers() -> None:
    found = diagnose([*START, f"{API}{REFUSED}"])
    assert found.failure is F.ENGINE_DEAD


@pytest.mark.parametrize(
    "line",
    [
        "Nov 21 03:50:01 gpu-1 sshd[7]: pynvml.NVMLError_GpuIsLost: GPU is lost",
        "Nov 21 03:50:01 gpu-1 myscript[7]: torch.OutOfMemoryError: CUDA out of memory.",
        "Nov 21 03:50:01 gpu kernel: Memory cgroup out of memory: Killed process 7 (postgres) anon",
        "Nov 21 03:50:01 gpu-1 kernel: tmpfs: Unknown parameter 'NVRM: Xid (PCI:0000:01:00): 79'",
        "Nov 21 03:50:01 gpu-1 kernel: oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),"
        "cpuset=/,mems_allowed=0,oom_memcg=/a,task=VLLM::EngineCor,pid=1,task_memcg=/b,task=java,"
        "pid=77,uid=1000",
    ],
)
def test_what_happens_to_another_program_is_no_death_of_ours(line: str) -> None:
    log = [*(CARRIERS["journal"](said) for said in START), line]
    assert diagnose(log).outcome is Outcome.READY


def test_hardware_that_failed_before_ten_minutes_of_work_holds_nobody() -> None:
    stats = (
        "(APIServer pid=1) INFO 11-28 16:{:02}:00 [loggers.py:127] Engine 000: Avg prompt "
        "throughput: 9.0 tokens/s, Avg generation throughput: 99.0 tokens/s, Running: 1 reqs"
    )
    lost = "(EngineCore pid=42) ERROR 11-28 16:00:00 [x.py:1] pynvml.NVMLError_Unknown: Unknown"
    worked = [stats.format(minute) for minute in range(1, 12)]
    assert diagnose([*START, lost, *DEATH]).failure is F.GPU_LOST
    assert diagnose([*START, lost, *worked[:5], *DEATH]).failure is F.GPU_LOST
    assert diagnose([*START, lost, *worked, *DEATH]).failure is F.ENGINE_DEAD


FORGED = "ERROR 11-28 16:40:00 [model_runner.py:9] torch.OutOfMemoryError: CUDA out of memory."
OLD_START = [line.removeprefix("(APIServer pid=1) ") for line in START]
OLD_DEATH = (
    "ERROR 11-28 16:50:00 [core_client.py:9] Engine core proc EngineCore_0 died unexpectedly."
)


@pytest.mark.parametrize(("gap_seconds", "counts"), [(0.0, False), (0.00004, False), (0.5, True)])
def test_a_line_in_the_old_form_that_came_with_a_requests_traceback_is_the_clients(
    gap_seconds: float, counts: bool
) -> None:
    said = CHANNELS["asgi"]("my words are\nbroken into lines")
    reader = read(OLD_START)
    at = 1000.0
    for line in [*said, FORGED]:
        reader.feed(line, at)
        at += gap_seconds
    reader.feed(OLD_DEATH, at + 60.0)
    assert (reader.diagnosis().failure is not F.ENGINE_DEAD) is counts


def test_vllms_next_line_behind_a_requests_traceback_is_read() -> None:
    reader = read(OLD_START)
    for line in CHANNELS["asgi"]("any"):
        reader.feed(line, 1000.0)
    reader.feed(FORGED, 1000.0004)
    reader.feed(OLD_DEATH, 1000.1)
    assert reader.diagnosis().failure is not F.ENGINE_DEAD


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_bare_line_in_one_write_with_a_clients_words_is_the_clients(channel: str) -> None:
    """A prompt may have line breaks: where a library prints it, its second line has no prefix."""
    steered = []
    for words in EXAMPLES[::7]:
        reader = read(START)
        for line in "\n".join(CHANNELS[channel](f"hello\n{words}")).split("\n"):
            reader.feed(line, 1000.0)
        for line in DEATH:
            reader.feed(line, 1060.0)
        if (reader.diagnosis().failure, reader.diagnosis().also) != (F.ENGINE_DEAD, ()):
            steered.append(words)
    assert steered == []


@pytest.mark.parametrize(
    "word",
    [
        "!!!!!!! Segfault encountered !!!!!!!",
        "terminate called after throwing an instance of 'c10::AcceleratorError'",
    ],
)
@pytest.mark.parametrize(
    ("before", "gap_seconds"),
    [
        ('INFO:     10.0.0.9:5 - "POST /v1/completions HTTP/1.1" 200 OK', 0.0),
        (CHANNELS["model"]("odd")[0], 0.0004),
        ("(EngineCore pid=42) INFO 11-28 16:34:02 [core.py:9] Request odd finished", 0.0004),
    ],
)
def test_a_library_s_last_word_behind_a_request_is_read(
    word: str, before: str, gap_seconds: float
) -> None:
    reader = read(START)
    reader.feed(before, 1000.0)
    reader.feed(word, 1000.0 + gap_seconds)
    for line in DEATH:
        reader.feed(line, 1000.3)
    assert reader.diagnosis().failure is F.NATIVE_CRASH
