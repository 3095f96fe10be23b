# SPDX-License-Identifier: Apache-2.0
"""Every class is known by its words, whatever is put before, around and behind them, or cut off."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.failures.classes import FailureClass, Group
from agent.core.failures.meaning import group_of, transient
from tests.given.engine_logs import CARRIERS, STARTING, diagnose
from tests.given.engine_words import WORDS

LINES = [(failure, line) for failure, lines in WORDS.items() for line in lines]
PREFIXES = (
    "",
    "ERROR 05-01 12:00:00 engine.py:366] ",
    "ERROR 05-01 12:00:00 [core.py:586] ",
    "ERROR 05-01 12:00 [v1/engine/core.py:586] ",
    "ERROR 05-01 12:00:00 core.py: ",
    "(VllmWorkerProcess pid=71) ERROR 05-01 12:00:00 multiproc_worker_utils.py:226] ",
    "(VllmWorker rank=1 pid=405) ERROR 05-01 12:00:00 [multiproc_executor.py:470] ",
    "(EngineCore_0 pid=1) ERROR 05-01 12:00:00 [core.py:718] ",
    "(EngineCore_DP0 pid=1) ",
    "(Worker_TP0_EP0 pid=50) ERROR 05-01 12:00:00 [multiproc_executor.py:949] ",
    "(RayWorkerWrapper pid=7, ip=10.0.0.7) ERROR 05-01 12:00:00 [worker_base.py:620] ",
    "(EngineCore pid=3) (RayWorkerWrapper pid=7, ip=10.0.0.7) ",
    "(APIServer pid=1) ",
    "[rank0]: ",
    "[multiproc_executor.py:492] ",
)
NOISE = (
    "",
    '  File "/opt/vllm/lib/python3.12/site-packages/torch/nn/modules/module.py", line 17, in _call',
    "                ^^^^^^^^^^^^^^^^^^^^^^",
    "    return func(*args, **kwargs)",
    "INFO 05-01 12:00:00 [__init__.py:244] Automatically detected platform cuda.",
    "WARNING 05-01 12:00:00 [custom_all_reduce.py:1] Custom allreduce is disabled because of PCIe.",
    "[Gloo] Rank 0 is connected to 0 peer ranks. Expected number of connected peer ranks is : 0",
    "(APIServer pid=1) INFO 05-01 12:00:00 [launcher.py:47] Route: /docs, Methods: GET, HEAD",
    "May 01 12:00:00 gpu-1 sshd[1]: Accepted publickey for root from 10.0.0.1 port 22",
    "(Worker_TP3 pid=99) DEBUG 05-01 12:00:00 [x.py:1] nothing to see",
    "\rreading: 3it [00:01]",
)
WRAPPERS = (
    "(EngineCore pid=3) ERROR 05-01 12:00:01 [core.py:718] EngineCore failed to start.",
    "(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above.",
    "RuntimeError: Engine process failed to start. See stack trace for the root cause.",
)
GENERAL = frozenset({FailureClass.ENGINE_DEAD, FailureClass.WORKER_DIED, FailureClass.UNKNOWN})


@pytest.mark.parametrize(("failure", "line"), LINES)
def test_a_line_names_its_class(failure: FailureClass, line: str) -> None:
    assert diagnose(line).failure is failure


def test_every_class_that_a_line_can_name_has_words_of_two_eras_or_sources() -> None:
    told_by_more_than_a_line = {Group.SHUTDOWN, Group.FALLBACK, Group.UNKNOWN}
    told_by_where_it_stands = {
        *(FailureClass.ENGINE_BUG, FailureClass.HOST_RESET, FailureClass.CUDA_COMPAT_LIBRARY)
    }
    missing = [
        name
        for name in FailureClass
        if group_of(name) not in told_by_more_than_a_line
        and name not in told_by_where_it_stands
        and not name.value.startswith("xid-")
        and len(WORDS.get(name, ())) < 2
    ]
    assert missing == []


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(LINES),
    st.sampled_from(PREFIXES),
    st.sampled_from(sorted(CARRIERS)),
    st.lists(st.sampled_from(NOISE), max_size=12),
    st.lists(st.sampled_from(NOISE + WRAPPERS), max_size=12),
)
def test_prefixes_carriers_noise_and_wrappers_hide_no_class(
    case: tuple[FailureClass, str], prefix: str, carrier: str, before: list[str], after: list[str]
) -> None:
    failure, line = case
    if failure in GENERAL:
        after = [item for item in after if item not in WRAPPERS]
    log = [CARRIERS[carrier](item) for item in [*before, prefix + line, *after]]
    assert diagnose(log).failure is failure


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(LINES), st.sampled_from(PREFIXES), st.integers(0), st.integers(0))
def test_what_is_left_of_a_cut_line_never_names_a_class_of_the_opposite_kind(
    case: tuple[FailureClass, str], prefix: str, begin: int, length: int
) -> None:
    failure, line = case
    words = line.split(" ")
    start = begin % len(words)
    rest = " ".join(words[start : start + 1 + length % len(words)])
    found = diagnose(f"{prefix}{rest}")
    if found.failure not in GENERAL and found.transient is not None:
        assert transient(failure) in (found.transient, None)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(LINES), st.sampled_from(PREFIXES), st.integers(1, 30), st.randoms())
def test_a_tail_of_a_log_names_the_class_or_an_honest_more_general_one(
    case: tuple[FailureClass, str], prefix: str, kept: int, chance: random.Random
) -> None:
    failure, line = case
    noise = [chance.choice(NOISE) for _ in range(20)]
    log = [*STARTING.split("\n"), *noise[:10], prefix + line, *noise[10:], *WRAPPERS]
    found = diagnose(log[-kept:]).failure
    if prefix + line in log[-kept:]:
        assert found in GENERAL if failure in GENERAL else found is failure
    else:
        assert found is None or found in GENERAL


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(LINES), st.integers(60, 200), st.booleans())
def test_a_line_that_a_terminal_broke_is_put_together(
    case: tuple[FailureClass, str], width: int, indented: bool
) -> None:
    failure, line = case
    pad = "  " if indented else ""
    pieces = [line[i : i + width] for i in range(0, len(line), width)]
    found = diagnose([pieces[0], *(pad + piece for piece in pieces[1:])])
    if found.failure not in GENERAL and found.transient is not None:
        assert transient(failure) in (found.transient, None)
