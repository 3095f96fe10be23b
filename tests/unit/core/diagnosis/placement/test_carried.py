# SPDX-License-Identifier: Apache-2.0
"""Whole logs of variants, in everything that may carry them: the same answer as the plain log."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agent.core.failures.classes import FailureClass, Outcome
from tests.given.engine_logs import CARRIERS, LOADING, SERVING, diagnose
from tests.unit.core.diagnosis.placement.test_variants import FIRST, SECOND

LOGS = {name: case[0] for name, case in (FIRST | SECOND).items()} | {"ready": SERVING}

DEATH = (
    "Nov 21 03:51:00 gpu-1 systemd[1]: {}.service: Main process exited, code=killed, status=9/KILL"
)

LEARNED: dict[str, Callable[[str, int], str]] = {
    "stern": lambda line, _: f"vllm-7d9f8c-abcde vllm {line}",
    "a shipper": lambda line, n: f"gpu-7 2025/11/21-03:50:{n % 60:02} severity=info body> {line}",
    "srun with the node": lambda line, _: f"node-03[3]> {line}",
}
"""Prefixes that no rule knows; `n` is the number of the line."""


@pytest.mark.parametrize("carrier", sorted(CARRIERS))
def test_a_known_carrier_changes_no_answer(carrier: str) -> None:
    for name, log in LOGS.items():
        plain = diagnose(log)
        carried = diagnose([CARRIERS[carrier](line) for line in log.split("\n")])
        assert (carried.outcome, carried.failure) == (plain.outcome, plain.failure), name


@pytest.mark.parametrize("carrier", sorted(LEARNED))
def test_a_prefix_is_learned_from_the_lines_that_vllm_begins_itself(carrier: str) -> None:
    for name, log in LOGS.items():
        if not log.lstrip("\n").startswith("(") or "/x/site-packages" in log:
            continue  # nothing to learn from before it matters
        plain = diagnose(log)
        lines = log.strip("\n").split("\n")
        carried = diagnose([LEARNED[carrier](line, n) for n, line in enumerate(lines)])
        assert (carried.outcome, carried.failure) == (plain.outcome, plain.failure), name


def test_the_death_of_another_service_in_the_same_file_is_not_ours() -> None:
    compose = [f"vllm-1  | {line}" for line in SERVING.split("\n")]
    beside = [
        "nginx-1  | Fatal Python error: Segmentation fault",
        "db-1  | Killed",
        "nginx-1 exited with code 137",
    ]
    found = diagnose([*compose, *beside])
    assert (found.outcome, found.failure) == (Outcome.READY, None)
    ours = diagnose([*compose, *beside, "vllm-1 exited with code 137"])
    assert ours.failure is FailureClass.ENGINE_DEAD


@pytest.mark.parametrize(
    ("identifier", "first"),
    [
        ("qwen", ""),
        ("python3", "Nov 21 03:50:00 gpu-1 systemd[1]: Started vllm.service - vLLM."),
        ("vllm", "Nov 21 03:50:00 gpu-1 systemd[1]: Started vllm.service - vLLM."),
    ],
)
def test_another_unit_that_dies_in_the_same_journal_is_not_ours(
    identifier: str, first: str
) -> None:
    lines = LOADING.strip().split("\n")
    journal = [first, *(f"Nov 21 03:50:01 gpu-1 {identifier}[4711]: {line}" for line in lines)]
    found = diagnose([*journal, DEATH.format("backup")])
    assert (found.outcome, found.failure) == (Outcome.RUNNING, None)
    assert diagnose([*journal, DEATH.format("vllm")]).failure is FailureClass.ENGINE_DEAD


def test_a_unit_of_any_name_is_ours_where_nothing_tells_it_apart() -> None:
    lines = LOADING.strip().split("\n")
    journal = [f"Nov 21 03:50:01 gpu-1 vllm[4711]: {line}" for line in lines]
    assert diagnose([*journal, DEATH.format("embed")]).failure is FailureClass.ENGINE_DEAD


def test_records_that_a_page_glued_into_one_line_are_read_one_by_one() -> None:
    head = "(EngineCore pid=7) ERROR 11-21 03:05:45 [core.py:97]"
    lines = [
        "EngineCore failed to start.",
        "Traceback (most recent call last):",
        'File "/x/site-packages/vllm/v1/core/odd.py", line 7, in plan',
        "raise odd(",
        "KeyError: 3",
    ]
    found = diagnose(" ".join(f"{head} {line}" for line in lines))
    assert found.failure is FailureClass.ENGINE_BUG
    assert found.evidence[0] == "KeyError: 3"


def test_a_traceback_that_a_page_indented_is_read() -> None:
    found = diagnose(
        "11\n"
        '   File "/x/site-packages/transformers/tokenization_odd.py", line 7, in load\n'
        "12\n     odd = config.kind\n13\n AttributeError: 'dict' object has no attribute 'kind'"
    )
    assert found.failure is FailureClass.PACKAGE_MISMATCH
