# SPDX-License-Identifier: Apache-2.0
"""The usual line of a busy server is taken by a short test, and changes what any way would."""

from __future__ import annotations

from dataclasses import asdict
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.diagnosis.carried.services import ServicesReader
from agent.core.diagnosis.familiar.reader import FamiliarReader
from agent.core.diagnosis.reader import LogReader
from agent.core.diagnosis.usual import Statistics, accepted, usual, usual_at
from agent.core.failures.classes import FailureClass, Outcome
from tests.given.engine_logs import SERVING, SIGNATURES, STARTING
from tests.given.engine_words import WORDS

CLIENT = '10.0.0.7:41234 - "POST /v1/chat/completions HTTP/1.1" 200 OK'
LONG_WAY = "\x1b[0m"
"""A colour before a line: the reader takes it off, and the line is the usual one no more."""

PATHS = ["/health", "/v1/completions", "/v1/models", "/metrics", "/ping", "/v1/embeddings"]
TRACE = "Traceback (most recent call last):"
OTHERS = (
    *SERVING.split("\n")[-6:],
    "(APIServer pid=1) INFO:     Application startup complete.",
    "(APIServer pid=1) INFO:     Shutting down",
    "ERROR:    Exception in ASGI application",
    '  File "/usr/lib/python3/dist-packages/vllm/v1/engine/core.py", line 7, in run_busy_loop',
    f"(APIServer pid=1) {TRACE}",
    TRACE,
    "1 validation error for ModelConfig",
    "(APIServer pid=1) pydantic_core._pydantic_core.ValidationError: 1 validation error for Odd",
    "(EngineCore pid=2) ERROR 11-21 03:10:01 [core.py:2] EngineCore encountered a fatal error.",
    "(APIServer pid=1) ERROR 11-21 03:10:01 [serving.py:2] Error in preprocessing prompt 'odd",
    "/usr/lib/python3.12/multiprocessing/resource_tracker.py:1: UserWarning: resource_tracker: "
    "There appear to be 1 leaked shared_memory objects to clean up at shutdown",
    'INFO:     10.0.0.7:41234 - "POST /v1/completions HTTP/1.1" 500 Internal Server Error',
    "vllm-1  | (APIServer pid=1) INFO 11-21 03:10:00 [api_server.py:1] vLLM API server",
    *(lines[0] for lines in WORDS.values()),
)
PROCESSES = st.sampled_from(["", "(APIServer pid=1) ", "(APIServer pid=77) "])
REFUSED = ("400 Bad Request", "401 Unauthorized", "404 Not Found", "429 Too Many Requests")
ANSWERS = st.builds(
    '{}INFO:     10.0.0.{}:4{} - "POST {} HTTP/1.1" {}'.format,
    PROCESSES,
    st.integers(0, 255),
    st.integers(0, 999),
    st.sampled_from(PATHS),
    st.sampled_from(["200 OK"] * 5 + list(REFUSED)),
)
V0 = (
    "Avg prompt throughput: {0} tokens/s, Avg generation throughput: {1} tokens/s, "
    "Running: {2} reqs, Swapped: 0 reqs, Pending: 1 reqs, GPU KV cache usage: 0.1%, "
    "CPU KV cache usage: 0.0%."
)
V1 = (
    "Engine 000: Avg prompt throughput: {0} tokens/s, Avg generation throughput: {1} tokens/s, "
    "Running: {2} reqs, Waiting: 3 reqs, GPU KV cache usage: 4.1%, Prefix cache hit rate: 31.0%"
)
RECORDS = ("INFO 11-21 03:10:00 metrics.py:455] ", "INFO 11-21 03:11:00 [metrics/loggers.py:127] ")
STATISTICS = st.builds(
    lambda process, record, *numbers: process + record.format(*numbers),
    PROCESSES,
    st.sampled_from([RECORDS[0] + V0, RECORDS[1] + V1]),
    st.sampled_from([0.0, 0.1, 812.2]),
    st.sampled_from([0.0, 640.3]),
    st.sampled_from([0, 12]),
)
USUAL = st.one_of(ANSWERS, ANSWERS, STATISTICS)
LINES = st.lists(st.one_of(USUAL, USUAL, st.sampled_from(OTHERS)), max_size=40)
CARRIERS = (
    "vllm-1  | ",
    "Nov 21 03:10:{0:02} gpu01 vllm[4711]: ",
    "Nov 21 03:10:{0:02} gpu01 python3[4712]: ",
    "Nov 21 03:10:{0:02} gpu01 systemd[1]: ",
    "2026-11-21T03:10:{0:02}+0000 gpu01 vllm[4711]: ",
    "2026-11-21T03:10:{0:02}.12{0}Z ",
    "2026-11-21T03:10:{0:02}.12{0}Z stdout F ",
    "other-1 | 2026-11-21T03:10:{0:02}.5Z ",
    "sk-abcdefghijk | ",
    "INFO-1   | ",
    "==> ",
)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (f"INFO:     {CLIENT}", ("", 1, 0)),
        (f"(APIServer pid=9) INFO:     {CLIENT}", ("APIServer", 1, 0)),
        (f"INFO:     {CLIENT}".replace("POST /v1/chat/completions", "GET /health"), ("", 0, 1)),
        (f"INFO:     {CLIENT}".replace("POST /v1/chat/completions", "GET /v1/models"), ("", 0, 0)),
        (f"INFO:     {CLIENT}!", None),
        (f"INFO:     {CLIENT}".replace("200 OK", "404 Not Found"), ("", 1, 0)),
        (f"INFO:     {CLIENT}".replace("200 OK", "500 Internal Server Error"), None),
        (f"INFO:     {CLIENT}".replace("completions", "completions?api_key=odd"), None),
        (f"INFO:     {CLIENT}".replace("/v1/chat", "/NVMLError_GpuIsLost"), None),
        (f"Nov 21 03:10:00 host vllm[7]: INFO:     {CLIENT}", None),
    ],
)
def test_only_an_answer_of_an_endpoint_of_vllm_s_own_is_usual(
    line: str, told: tuple[str, int, int] | None
) -> None:
    found = usual(line)
    assert (found and found[:3]) == told
    assert accepted(line) is (told is not None and line.endswith("200 OK"))


def test_statistics_are_usual_lines_of_every_era() -> None:
    """Lines as vLLM 0.6 and 0.11 print them; a word that it does not print makes them others."""
    for record in (RECORDS[0] + V0, RECORDS[1] + V1):
        line = record.format(0.0, 12.5, 2)
        found = usual(f"(APIServer pid=1) {line}")
        assert isinstance(found, Statistics)
        assert (found.process, found.moved, found.running) == ("APIServer", True, 2)
        assert usual(line.replace("GPU KV", "Odd KV")) is None


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["", STARTING, SERVING]), LINES, st.sampled_from([None, 0.0, 0.0001, 1.0]))
def test_the_short_way_changes_what_the_long_way_does(
    before: str, lines: list[str], apart: float | None
) -> None:
    """Without times and with them: written at once, in one write, or one after the other."""
    short, long = LogReader(SIGNATURES), LogReader(SIGNATURES)
    for number, line in enumerate([*before.split("\n"), *lines]):
        at = None if apart is None else 1.0 + number * apart
        short.feed(line, at)
        long.feed(LONG_WAY + line, at)
        assert asdict(short.diagnosis()) == asdict(long.diagnosis()), line
        assert (short.tail, short.activity, short.ready) == (long.tail, long.activity, long.ready)


ANSWER = f"INFO:     {CLIENT}"
NOT_FOUND = ANSWER.replace("200 OK", "404 Not Found")
MOVED, IDLE = (RECORDS[0] + V0.format(rate, rate, 3) for rate in (12.5, 0.0))
BLOCKED = "INFO 11-21 03:12:00 [shm_broadcast.py:8] No available block found in 60 seconds"
QUOTES = "ERROR 11-21 03:10:01 [serving.py:2] Error in preprocessing prompt 'odd"
DIED = "ERROR 11-21 03:10:01 [core.py:2] "
LEFTOVER = (
    "/usr/lib/python3.12/multiprocessing/resource_tracker.py:1: UserWarning: resource_tracker: "
    "There appear to be 1 leaked shared_memory objects to clean up at shutdown"
)
CUDA = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
JOURNAL = "Nov 21 03:10:00 gpu01 {}[7]: "


AWAITED = {
    "a library's traceback is open": [
        *(TRACE, '  File "odd.py", line 7, in run', " OddError: x", NOT_FOUND, CUDA),
    ],
    "a client's record is open": [ANSWER, QUOTES, MOVED, CUDA],
    "a client's record of many lines is open": [ANSWER, QUOTES, "odd", ANSWER, CUDA],
    "a death goes on": [
        *(ANSWER, f"{DIED}EngineCore encountered a fatal error.", f"{DIED}{TRACE}"),
        *(f"{DIED}RuntimeError: 1 validation error for Odd", ANSWER, "  odd"),
    ],
    "a process left something behind": [ANSWER, LEFTOVER, ANSWER],
    "a process left something behind, and goes on": [ANSWER, LEFTOVER, MOVED],
    "processes wait for each other": [ANSWER, *[BLOCKED] * 4, MOVED, *[BLOCKED] * 4],
    "processes wait, and one answers": [ANSWER, *[BLOCKED] * 4, ANSWER, *[BLOCKED] * 4],
    "nothing moves": [ANSWER, IDLE, IDLE, IDLE, IDLE, MOVED, IDLE, IDLE, IDLE, IDLE, IDLE],
    "a line is broken at the edge": [
        ANSWER,
        f"{DIED}{'x' * 60} CUDA out of",
        MOVED,
        "memory. Tried to allocate 2.00 GiB.",
    ],
    "another program speaks": [
        *(JOURNAL.format("vllm") + line for line in (MOVED, MOVED)),
        *(f"{JOURNAL.format('odd')}(APIServer pid=1) {line}" for line in (ANSWER, MOVED)),
        JOURNAL.format("odd") + CUDA,
    ],
    "another container speaks": [
        *("vllm-1   | " + line for line in (MOVED, MOVED)),
        *("other-1  | " + line for line in (MOVED, CUDA)),
    ],
    "many programs speak": [
        *(JOURNAL.format(f"vllm-{name}") + MOVED for name in "abcdefghij"),
        *(JOURNAL.format("odd") + line for line in ("hello", MOVED, CUDA)),
    ],
}


@pytest.mark.parametrize("story", AWAITED)
@pytest.mark.parametrize("before", [SERVING, f"{ANSWER}\n{ANSWER}"])
def test_what_is_awaited_is_awaited_behind_usual_lines(before: str, story: str) -> None:
    """Where the short way must not be gone, or must leave what the long way does."""
    lines = [*before.split("\n"), *AWAITED[story]]
    at_once, one_by_one = FamiliarReader(SIGNATURES), LogReader(SIGNATURES)
    for number, line in enumerate(lines):
        one_by_one.feed(LONG_WAY + line)
        at_once.feed_lines(line, at_once.feed)
        assert asdict(at_once.diagnosis()) == asdict(one_by_one.diagnosis()), lines[: number + 1]
        assert at_once.tail == one_by_one.tail
    whole = FamiliarReader(SIGNATURES)
    whole.feed_lines("\n".join(lines), whole.feed)
    assert asdict(whole.diagnosis()) == asdict(one_by_one.diagnosis())
    assert whole.tail == one_by_one.tail


def test_an_exception_alone_is_none_where_vllm_has_spoken() -> None:
    lines = [ANSWER, ANSWER, MOVED, "RuntimeError: odd", "odd"]
    short, long = LogReader(SIGNATURES), LogReader(SIGNATURES)
    for line in lines:
        short.feed(line)
        long.feed(LONG_WAY + line)
        assert asdict(short.diagnosis()) == asdict(long.diagnosis())


def test_a_client_that_goes_on_in_a_quotation_is_heard_as_one() -> None:
    """An open quotation of a client holds lines in any form, the usual one too."""
    reader = LogReader(SIGNATURES)
    for line in SERVING.split("\n"):
        reader.feed(line)
    reader.feed("(APIServer pid=1) ERROR 11-21 03:10:01 [serving.py:2] Error with model 'odd")
    before = reader.tail
    reader.feed(f"(APIServer pid=1) INFO:     {CLIENT}")
    assert reader.tail == before


def test_a_server_that_dies_behind_answered_requests_is_told_as_ever() -> None:
    reader = LogReader(SIGNATURES)
    oom = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    fatal = "(EngineCore pid=2) ERROR 11-21 03:10:01 [core.py:2] "
    for line in (
        *SERVING.split("\n"),
        *[f"INFO:     {CLIENT}"] * 100,
        f"{fatal}EngineCore encountered a fatal error.",
        f"{fatal}{TRACE}",
        f"{fatal}{oom}",
        *[f"INFO:     {CLIENT}"] * 3,
    ):
        reader.feed(line)
    found = reader.diagnosis()
    assert (found.outcome, found.failure) == (Outcome.FAILED, FailureClass.OOM_RUNTIME)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["", STARTING, SERVING]), LINES, st.booleans())
def test_a_text_shows_what_its_lines_show(before: str, lines: list[str], ends: bool) -> None:
    """Runs of usual lines are taken at once, whatever stands between them, before or behind."""
    one_by_one, at_once = ServicesReader(SIGNATURES), ServicesReader(SIGNATURES)
    lines = [*before.split("\n"), *(line for line in lines for _ in range(2))]
    for line in lines:
        one_by_one.feed(line)
    at_once.feed_text("\n".join(lines) + "\n" * ends)
    assert asdict(at_once.diagnosis()) == asdict(one_by_one.diagnosis())
    assert at_once.services() == one_by_one.services()


def carried(line: str, carrier: str, second: int) -> str:
    """Return the line as something carries it; a heading stands alone."""
    return f"==> {second % 2}.log <==" if carrier == "==> " else carrier.format(second) + line


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["", STARTING, SERVING]),
    LINES,
    st.lists(st.sampled_from(CARRIERS), min_size=1, max_size=3),
    st.randoms(use_true_random=False),
)
def test_a_carried_text_shows_what_its_lines_show(
    before: str, lines: list[str], carriers: list[str], random: Random
) -> None:
    """So do logs of journald, Docker and Kubernetes, of one service or of several in turn."""
    one_by_one, at_once = ServicesReader(SIGNATURES), ServicesReader(SIGNATURES)
    lines = [*before.split("\n"), *(line for line in lines for _ in range(3))]
    first = carriers[0]
    lines = [
        carried(line, random.choice(carriers) if random.random() < 0.2 else first, number % 60)
        for number, line in enumerate(lines)
    ]
    for line in lines:
        one_by_one.feed(line)
    at_once.feed_text("\n".join(lines))
    assert asdict(at_once.diagnosis()) == asdict(one_by_one.diagnosis())
    assert at_once.services() == one_by_one.services()


def test_what_carries_the_usual_lines_does_not_make_them_others() -> None:
    """Behind every carrier they are taken at once: each is one part, whatever the second."""
    usual_line = f"(APIServer pid=1) INFO:     {CLIENT}"
    for carrier in CARRIERS[:-1]:
        text = "".join(f"{carrier.format(second)}{usual_line}\n" for second in range(10, 14))
        part = usual_at(text, 0)
        assert part is not None
        assert (part.carrier, len(part.lines)) == (carrier.format(10), 4)
        assert list(part.shown) == [usual_line] * 4


def test_usual_lines_of_one_kind_that_follow_each_other_are_one_part() -> None:
    usual = f"INFO:     {CLIENT}"
    text = f"odd\n{usual}\n{usual}\n x {usual}\n(APIServer pid=1) {usual}\n{usual}\r\n{usual}\n"
    begins = [0, *(place + 1 for place, mark in enumerate(text[:-1]) if mark == "\n")]
    found = [usual_at(text, begin) for begin in begins]
    assert [len(part.lines) if part is not None else 0 for part in found] == [0, 2, 1, 0, 1, 0, 1]
