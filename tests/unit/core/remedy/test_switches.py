# SPDX-License-Identifier: Apache-2.0
"""A failing kernel is turned off by its switch where recovery may do that; else it is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.core.diagnosis.numbers import Numbers
from agent.core.failures.classes import FailureClass
from agent.core.remedy.case import Case, Change, Hold, Retry
from agent.core.remedy.propose import propose
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import Settings
from agent.core.settings.switches import can_be_taken, is_switch
from agent.core.unit.text import override_note
from tests.given.engine_logs import SIGNATURES

F = FailureClass
SWITCH = "VLLM_USE_DEEP_GEMM=0"
FLAG = "--attention-backend TRITON_ATTN"
MAY = Recovery(allow_switches=True)


def case(running: Settings, recovery: Recovery = MAY, **more: object) -> Case:
    made = {"advice": f"do without it: {SWITCH}", "switches": (SWITCH, FLAG), **more}
    return Case(F.KERNEL_LIBRARY, Numbers(), running, recovery, **made)  # type: ignore[arg-type]


def test_switches_are_taken_one_after_the_other_and_then_it_is_held() -> None:
    running = Settings("vllm", "/m", environment={"A": "b"}, extra_args=("--x",))
    first = propose(case(running))
    assert isinstance(first, Change)
    running = running.with_overrides({first.setting: first.value})
    assert running.environment == {"A": "b", "VLLM_USE_DEEP_GEMM": "0"}
    second = propose(case(running, spent=1))
    assert isinstance(second, Change)
    running = running.with_overrides({second.setting: second.value})
    assert running.extra_args == ("--x", "--attention-backend", "TRITON_ATTN")
    assert isinstance(propose(case(running, spent=2)), Hold)


def test_where_recovery_may_not_the_switch_is_named() -> None:
    held = propose(case(Settings("vllm", "/m"), Recovery()))
    assert isinstance(held, Hold)
    assert SWITCH in held.what_to_do


def test_what_the_operator_set_stays_as_it_is() -> None:
    running = Settings(
        "vllm",
        "/m",
        environment={"VLLM_USE_DEEP_GEMM": "1"},
        extra_args=("--attention-backend=FLASHINFER",),
    )
    assert isinstance(propose(case(running)), Hold)


def test_a_kernel_that_failed_at_work_is_tried_again_as_the_service_did_serve() -> None:
    tried = propose(case(Settings("vllm", "/m"), Recovery(), served=True))
    assert isinstance(tried, Retry)
    assert "may cure" not in tried.why


@pytest.mark.parametrize(
    "failure", [F.UNKNOWN, F.ENGINE_BUG, F.NATIVE_CRASH, F.KERNEL_LIBRARY, F.CUDA_LAUNCH_FAILURE]
)
def test_the_same_exception_at_the_same_place_of_a_start_is_held_the_second_time(
    failure: FailureClass,
) -> None:
    again = Case(failure, Numbers(), Settings("vllm", "/m"), place="E@vllm/a.py:f", again=True)
    held = propose(again)
    assert isinstance(held, Hold)
    assert "a new start may cure it" not in f"{held.why} {held.what_to_do}"


@pytest.mark.parametrize(
    "failure", [F.RAY_NODES_MISSING, F.PEER_LOST, F.START_STALLED, F.CUDA_BUSY]
)
def test_what_hangs_on_another_node_or_process_is_tried_on(failure: FailureClass) -> None:
    again = Case(failure, Numbers(), Settings("vllm", "/m"), place="E@vllm/a.py:f", again=True)
    assert isinstance(propose(again), Retry)


def test_every_switch_of_the_knowledge_is_one() -> None:
    known = [s for sig in SIGNATURES.signatures for s in sig.switches]
    known += [s for rule in SIGNATURES.places.rules for s in rule.switches]
    assert known
    assert [s for s in known if not is_switch(s)] == []
    assert not can_be_taken("--enforce-eager")
    assert not can_be_taken("--moe-backend")


def test_the_note_of_a_switch_says_that_the_agent_set_it() -> None:
    assert override_note(SWITCH, None, True, "why") == f"{SWITCH}: set by llmagent: why"


def test_what_nobody_knows_the_fault_of_is_tried_once_and_held_at_the_same_place() -> None:
    settings = Settings("vllm", "/m")
    met = Case(F.ENGINE_BUG, Numbers(), settings, place="E@vllm/a.py:f", guessed=True)
    tried = propose(met)
    assert isinstance(tried, Retry)
    assert "not known" in tried.why
    assert isinstance(propose(replace(met, again=True)), Hold)
    assert isinstance(propose(replace(met, guessed=False)), Hold)
