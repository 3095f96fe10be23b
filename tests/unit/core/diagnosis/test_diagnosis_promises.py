# SPDX-License-Identifier: Apache-2.0
"""Promises of the log reader, whatever carries, cuts, colours or mixes the lines."""

from __future__ import annotations

import dataclasses
import json
import re
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.codec import decode, encode
from agent.core.diagnosis.reader import Diagnosis
from agent.core.diagnosis.signatures import Rank
from agent.core.failures.classes import FailureClass
from tests.given.engine_logs import (
    ALLOCATION,
    CARRIERS,
    DEATH_AT_START,
    PROFILING,
    SERVING,
    SIGNATURES,
    diagnose,
    read,
    v1,
)

FAILURES = [
    s
    for s in SIGNATURES.signatures
    if s.failure is not None and s.kind.value in ("failure", "wrapper") and s.rank is not Rank.HINT
]
INCIDENTS = {
    "oom": f"{PROFILING}\n{v1(ALLOCATION, level='ERROR')}{DEATH_AT_START}",
    "ready": SERVING,
    "gated": "OSError: You are trying to access a gated repo.\n401 Client Error.",
    "unknown": v1(
        "EngineCore failed to start.\nTraceback (most recent call last):\nOddError: odd",
        level="ERROR",
    ),
}
UNRELATED = [
    "",
    "   ",
    "INFO 11-21 03:00:00 [importing.py:44] Triton is installed but 0 active driver(s) found",
    "[Gloo] Rank 0 is connected to 0 peer ranks. Expected number of connected peer ranks is : 0",
    "  warnings.warn(",
    "(APIServer pid=1) INFO 11-21 03:05:01 [launcher.py:47] Route: /docs, Methods: GET, HEAD",
    "(Worker_TP3 pid=99) DEBUG 11-21 03:05:01 [x.py:1] nothing to see",
    "Nov 21 03:50:01 gpu-1 sshd[1]: Accepted publickey for root from 10.0.0.1 port 22",
]


@pytest.mark.parametrize("carrier", CARRIERS)
@pytest.mark.parametrize("incident", INCIDENTS)
def test_what_carries_the_lines_changes_nothing(carrier: str, incident: str) -> None:
    plain = diagnose(INCIDENTS[incident])
    carried = diagnose([CARRIERS[carrier](line) for line in INCIDENTS[incident].split("\n")])
    assert (carried.failure, carried.outcome) == (plain.failure, plain.outcome)
    assert (carried.numbers, carried.vllm_version) == (plain.numbers, plain.vllm_version)


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_single_line_from_the_middle_is_enough(carrier: str) -> None:
    for signature in FAILURES:
        line = v1(signature.examples[0], level="ERROR")
        found = diagnose([CARRIERS[carrier](line)]).failure
        assert found is diagnose(line).failure is not None, signature.id


@pytest.mark.parametrize("process", ["", "(EngineCore_DP0 pid=7) ", "(VllmWorker rank=1 pid=405) "])
@pytest.mark.parametrize(
    "header", ["ERROR 11-12 10:00:00 x.py:1] ", "ERROR 11-12 10:00:00 [x.py:1] "]
)
def test_the_prefix_of_any_era_changes_nothing(process: str, header: str) -> None:
    for signature in FAILURES:
        example = signature.examples[0]
        found = diagnose(f"{process}{header}{example}").failure
        assert found is diagnose(example).failure, signature.id


@given(st.lists(st.sampled_from(UNRELATED), max_size=30), st.randoms(use_true_random=False))
def test_unrelated_lines_between_change_nothing(noise: list[str], chance: object) -> None:
    for text in INCIDENTS.values():
        lines = text.strip("\n").split("\n")
        for item in noise:
            lines.insert(chance.randint(0, len(lines)), item)  # type: ignore[attr-defined]
        assert diagnose(lines).failure is diagnose(text).failure


@pytest.mark.parametrize("width", [72, 80, 100, 132])
def test_lines_broken_at_the_edge_of_a_terminal_are_put_together(width: int) -> None:
    for name, text in INCIDENTS.items():
        broken = [
            line[i : i + width] for line in text.split("\n") for i in range(0, len(line), width)
        ]
        assert diagnose(broken).failure is diagnose(text).failure, name


@given(st.lists(st.text(max_size=300), max_size=20))
def test_no_text_makes_the_reader_fail(lines: list[str]) -> None:
    reader = read(lines)
    reader.diagnosis()
    assert len(reader.tail) <= 20


@given(
    st.lists(st.sampled_from([e for s in SIGNATURES.signatures for e in s.examples]), max_size=40)
)
def test_any_order_of_known_lines_gives_a_diagnosis(lines: list[str]) -> None:
    found = diagnose(lines)
    assert found.failure is None or found.evidence
    assert found.failure not in found.also


@given(
    st.lists(st.sampled_from([e for s in SIGNATURES.signatures for e in s.examples]), max_size=10)
)
def test_a_diagnosis_survives_being_stored(lines: list[str]) -> None:
    found = diagnose(lines)
    json.dumps(dataclasses.asdict(found))
    assert decode(Diagnosis, json.loads(json.dumps(encode(found)))) == found


EXAMPLES = [example for s in SIGNATURES.signatures for example in s.examples]


@settings(deadline=None)
@given(st.sampled_from(EXAMPLES), st.text("0123456789.,", min_size=1, max_size=12), st.booleans())
def test_a_number_of_any_length_is_read_or_left(example: str, digits: str, long: bool) -> None:
    """`int` refuses 4,301 digits and `float` a second point: the line is read all the same."""
    number = digits * 800 if long else digits
    read([*SERVING.split("\n"), re.sub(r"\d+", number, example)]).diagnosis()


def test_activity_never_falls() -> None:
    reader = read("")
    seen = 0
    for line in SERVING.split("\n"):
        reader.feed(line)
        assert reader.activity >= seen
        seen = reader.activity
    assert seen > 0


def test_memory_stays_bounded_however_much_is_read() -> None:
    def feed(lines: int) -> None:
        for n in range(lines):
            reader.feed(f"(Worker_{n} pid={n}) ERROR 11-21 03:05:45 [x.py:{n}] Error{n}: line {n}")
            reader.feed(f"Traceback (most recent call last): {n}")

    reader = read(SERVING)
    feed(2000)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    feed(20000)
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert after - before < 200_000


def test_a_line_of_many_megabytes_costs_no_more_than_a_long_one() -> None:
    reader = read(["x" * 5_000_000 + " CUDA error: device-side assert triggered"])
    assert reader.diagnosis().failure is FailureClass.CUDA_ASSERT
    assert max(len(line) for line in reader.tail) <= 500
