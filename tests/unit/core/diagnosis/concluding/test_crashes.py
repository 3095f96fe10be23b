# SPDX-License-Identifier: Apache-2.0
"""What the kernel says of a crash is told of the run whose process it was, and of no other."""

from __future__ import annotations

import pytest

from agent.core.diagnosis.concluding.crashes import crash_in, lacks_a_cause, word_of
from agent.core.diagnosis.reader import LogReader
from agent.core.failures.classes import FailureClass, Outcome
from tests.given.engine_logs import SERVING, SIGNATURES, STARTING, failed, read

OURS, THEIRS = "a" * 32, "b" * 32
ADDRESSES = "ip 00007f2a4c2b1d10 sp 00007ffd52a3b2c8 error 4"
SEGFAULT = f"VLLM::EngineCor[4711]: segfault at 0 {ADDRESSES} in libcuda.so.580.95.05[7f2a+1a]"
TRAP = "traps: python3[4712] general protection fault ip:7f2a sp:7ffd error:0 in libodd.so[7f+1a]"
DIED = "(APIServer pid=1) ERROR 11-21 03:10:01 [core_client.py:2] Engine core proc EngineCore_DP0 "


@pytest.mark.parametrize(
    ("line", "thread"),
    [
        (SEGFAULT, 4711),
        (TRAP, 4712),
        ("cuda-EvtHandlr[99]: segfault at 7f01 ip 0 sp 0 error 14 likely on CPU 3 (core 3)", 99),
        ("traps: VLLM::Worker_TP[7] trap invalid opcode ip:7f sp:7f error:0 in odd.so[7f+1a]", 7),
        ("python3[8]: unhandled level 3 translation fault (11) at 0x0, esr 0x0, in odd.so", 8),
    ],
)
def test_a_crash_is_known_in_each_form_of_the_kernel_s(line: str, thread: int) -> None:
    found = crash_in(line, 5.0)
    assert found is not None
    assert (found.thread, found.at, found.line) == (thread, 5.0, line)


@pytest.mark.parametrize(
    "line",
    [
        "NVRM: Xid (PCI:0000:65:00): 31, pid=4711, name=python3",
        "Out of memory: Killed process 4711 (python3)",
        "tmpfs: Unknown parameter 'python3[4711]: segfault at 0'",
        "audit: python3[4711] was here",
    ],
)
def test_what_the_kernel_says_of_anything_else_is_no_crash(line: str) -> None:
    """Nor what it quotes of somebody behind words of its own."""
    assert crash_in(line, 5.0) is None


def told(lines: list[str], owners: dict[int, str], *, native: bool = False) -> str:
    found = [crash for line in lines if (crash := crash_in(line, 5.0)) is not None]
    return word_of(found, OURS, lambda pid: owners.get(pid, ""), native=native)


def test_the_crash_of_our_own_process_is_told_and_that_of_another_unit_never() -> None:
    assert told([TRAP, SEGFAULT], {4711: OURS, 4712: THEIRS}).startswith(SEGFAULT)
    assert told([SEGFAULT], {4711: THEIRS}) == ""
    assert told([SEGFAULT], {4711: THEIRS}, native=True) == ""
    assert told([], {}, native=True) == ""


def test_a_thread_that_no_line_names_counts_where_our_log_tells_of_a_crash_alone() -> None:
    """The number is a thread's then; of two such ones nobody can tell which is meant."""
    assert told([SEGFAULT], {}) == ""
    assert told([SEGFAULT], {}, native=True).startswith(SEGFAULT)
    assert told([SEGFAULT, TRAP], {}, native=True) == ""
    assert told([SEGFAULT, TRAP], {4712: THEIRS}, native=True).startswith(SEGFAULT)


@pytest.mark.parametrize("line", [SEGFAULT, TRAP])
@pytest.mark.parametrize(
    "log", [SERVING, f"{SERVING}\n{DIED}died unexpectedly, shutting down client.", STARTING]
)
def test_a_run_without_a_cause_is_a_native_crash_by_the_kernel_s_word(log: str, line: str) -> None:
    """Its evidence names the library."""
    reader = read(log)
    assert lacks_a_cause(reader.diagnosis())
    reader.take_kernels_word(told([line], {4711: OURS, 4712: OURS}))
    found = reader.diagnosis()
    assert (found.outcome, found.failure) == (Outcome.FAILED, FailureClass.NATIVE_CRASH)
    assert ".so" in found.evidence[0]
    assert "The library that the kernel names" in found.advice


def test_a_run_with_a_cause_of_its_own_needs_no_word_of_the_kernel_s() -> None:
    """A process that tears down what failed may crash in the end; so may one that was stopped."""
    oom = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    assert not lacks_a_cause(read(f"{STARTING}{failed(oom)}").diagnosis())
    stopped = LogReader(SIGNATURES)
    for line in (*SERVING.split("\n"), "(APIServer pid=1) INFO:     Shutting down"):
        stopped.feed(line)
    assert not lacks_a_cause(stopped.diagnosis())
