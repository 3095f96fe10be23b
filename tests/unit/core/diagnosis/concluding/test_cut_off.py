# SPDX-License-Identifier: Apache-2.0
"""A log that ends within a traceback has failed, whatever its exception would have been."""

from __future__ import annotations

import pytest

from agent.core.diagnosis.carried.services import ServicesReader
from agent.core.diagnosis.concluding.cut_off import CUT_OFF
from agent.core.diagnosis.reader import Diagnosis, LogReader
from agent.core.failures.classes import FailureClass as F
from agent.core.failures.classes import Outcome
from tests.given.engine_logs import LOADING, SERVING, SIGNATURES

BEFORE = "(EngineCore pid=42) ERROR 11-28 16:50:00 [core.py:1330] "
TRACE = (
    "EngineCore failed to start.",
    "Traceback (most recent call last):",
    '  File "/opt/odd/dist-packages/vllm/v1/engine/core.py", line 1, in run_engine_core',
    "    engine_core = EngineCoreProc(*args)",
    '  File "/opt/odd/dist-packages/vllm/model_executor/models/odd.py", line 7, in __init__',
)


def over(log: str) -> Diagnosis:
    reader = ServicesReader(SIGNATURES)
    reader.feed_text(log + "\n")
    return reader.diagnosis()


def cut_after(code: str, *, head: int = 1) -> str:
    return "\n".join(BEFORE + line for line in (*TRACE[head:], code))


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("    assert isinstance(layer, OddLayer)", F.ENGINE_BUG),
        ("    raise NotImplementedError(", F.UNSUPPORTED_ARCH),
        ("    raise RuntimeError(", F.UNKNOWN),
        ("    self.odd(", F.UNKNOWN),
    ],
)
def test_the_code_that_threw_says_what_the_lost_exception_was(code: str, failure: F) -> None:
    found = over(f"{LOADING}\n{cut_after(code)}")
    assert (found.outcome, found.failure) == (Outcome.FAILED, failure)
    assert found.transient is None
    assert CUT_OFF in found.advice
    assert found.evidence[0] == code.strip()


def test_a_traceback_that_is_still_being_written_is_not_cut_off() -> None:
    reader = LogReader(SIGNATURES)
    for line in f"{LOADING}\n{cut_after('    self.odd(')}".split("\n"):
        reader.feed(line)
    assert reader.diagnosis().outcome is Outcome.RUNNING


def test_what_only_warns_with_a_traceback_is_not_cut_off() -> None:
    warned = cut_after("    self.odd(").replace("ERROR", "WARNING")
    assert over(f"{LOADING}\n{warned}").outcome is Outcome.RUNNING


def test_a_server_that_came_up_does_not_die_of_half_a_traceback() -> None:
    assert over(f"{SERVING}\n{cut_after('    self.odd(')}").outcome is Outcome.READY


def test_a_wrapper_tells_less_than_the_frames_behind_it() -> None:
    found = over(f"{LOADING}\n{cut_after('    assert odd', head=0)}")
    assert found.failure is F.ENGINE_BUG


# --- a server that fell silent --------------------------------------------------------------------

WAITS = (
    "(EngineCore pid=42) INFO 11-21 03:{:02d}:30 [shm_broadcast.py:5] No available shared memory "
    "broadcast block found in 60 seconds. This typically happens when some processes are hanging."
)
WORKS = (
    "(APIServer pid=1) INFO 11-21 03:40:00 [loggers.py:2] Engine 000: Avg prompt throughput: 9.0 "
    "tokens/s, Avg generation throughput: 30.5 tokens/s, Running: 1 reqs, Waiting: 0 reqs, GPU KV "
    "cache usage: 1.0%"
)


def waiting(minutes: int) -> str:
    return "\n".join([SERVING, *(WAITS.format(8 + n) for n in range(minutes))])


def test_a_server_whose_log_ends_in_waiting_may_hang() -> None:
    found = over(waiting(3))
    assert (found.outcome, found.failure) == (Outcome.DEGRADED, F.ENGINE_HUNG)
    assert "py-spy" in found.advice
    assert over(waiting(6)).outcome is Outcome.FAILED


def test_one_minute_of_waiting_or_work_behind_it_is_no_hang() -> None:
    assert over(waiting(1)).outcome is Outcome.READY
    assert over(f"{waiting(3)}\n{WORKS}").outcome is Outcome.READY


def test_a_server_that_is_being_watched_is_not_judged_so_soon() -> None:
    reader = LogReader(SIGNATURES)
    for line in waiting(3).split("\n"):
        reader.feed(line)
    assert reader.diagnosis().outcome is Outcome.READY
