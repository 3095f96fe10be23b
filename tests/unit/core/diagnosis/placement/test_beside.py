# SPDX-License-Identifier: Apache-2.0
"""What libraries, the host and containers say beside vLLM has its class, or ends nothing."""

from __future__ import annotations

import pytest

from agent.core.failures.classes import FailureClass, Outcome
from tests.catalogue.beside import beside_of, is_dangerous, is_right, log_of, rows, says_again
from tests.given.engine_logs import DEATH_AT_START, LOADING, PROFILING, SERVING, diagnose

HARMLESS = rows("harmless.tsv")
IN_THE_JOURNAL = ("kernel", "systemd")
FAMILIES = sorted({row.split("\t")[0] for row in rows()})


@pytest.mark.parametrize("family", FAMILIES)
def test_every_text_of_a_family_gets_a_class_that_a_person_gave_it(family: str) -> None:
    texts = [beside_of(row) for row in rows() if row.split("\t")[0] == family]
    told = [(text, diagnose(log_of(text))) for text in texts]
    wrong = [(text.text, said.failure) for text, said in told if not is_right(text, said)]
    assert wrong == []
    assert not any(is_dangerous(text, said) for text, said in told)
    assert [text.text for text, said in told if not says_again(text, said)] == []


@pytest.mark.parametrize("row", HARMLESS)
def test_a_complaint_that_a_server_survives_is_no_failure(row: str) -> None:
    family, line = row.replace("⏎", "\n").split("\t", 1)
    if family in IN_THE_JOURNAL:
        line = f"Nov 21 03:05:10 gpu01 {line}"
    found = diagnose(f"{LOADING}\n{line}{PROFILING.removeprefix(LOADING)}")
    assert (found.outcome, found.failure) == (Outcome.RUNNING, None)
    found = diagnose(f"{LOADING}\n{line}{SERVING.removeprefix(LOADING)}")
    assert (found.outcome, found.failure) == (Outcome.READY, None)


def test_a_complaint_explains_a_death_that_nothing_else_does() -> None:
    """NCCL's warning alone is none: a death of which no more is known may come of it."""
    complaint = "gpu01:9:9 [0] transport/net_ib.cc:94 NCCL WARN NET/IB : mlx5_0:1 Got odd event"
    died = diagnose(f"{LOADING}\n{complaint}{DEATH_AT_START}")
    assert (died.failure, died.transient) == (FailureClass.NCCL_ERROR, None)
    assert died.evidence[0] == complaint
    oom = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    trace = f"Traceback (most recent call last):\n{oom}"
    other = diagnose(f"{LOADING}\n{complaint}\n{trace}{DEATH_AT_START}")
    assert other.failure is FailureClass.OOM_WEIGHTS_LOAD
    lives = diagnose(f"{LOADING}\n{complaint}")
    assert (lives.outcome, lives.failure) == (Outcome.RUNNING, None)
