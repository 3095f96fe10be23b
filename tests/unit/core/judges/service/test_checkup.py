# SPDX-License-Identifier: Apache-2.0
"""The evening's examination: told before the night, once, and told again when it is mended."""

from __future__ import annotations

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.decide import decide
from agent.core.doctor.driver import judge_mismatch
from agent.core.doctor.finding import Finding, fail, ok, unknown, warning
from agent.core.gpu.reading import Driver, Gpus
from agent.core.stages.caches import Pruned
from agent.core.state.host import HostState, News
from agent.core.state.observations import HostExamined
from agent.core.state.policy import HostPolicy
from agent.daemon.sources.checkup import next_evening

NOTHING = HostPolicy({}, {})
TAKEN = fail("port", "8000 is taken by nginx (pid 7)", "Stop it.", "vllm")
SWAPS = warning("host-memory", "9 GiB are swapped out", "Find what grew.")


def evenings(*each: tuple[Finding, ...]) -> list[list[News]]:
    """What is told at each evening with these findings."""
    state, told = HostState(), []
    for day, findings in enumerate(each):
        decision = decide(state, HostExamined(86_400.0 * day, findings), NOTHING)
        state = decision.state
        told.append(list(decision.news))
    return told


def test_a_driver_that_was_replaced_at_noon_is_told_in_the_evening() -> None:
    """unattended-upgrades put a new library beside the loaded module; vLLM still serves."""
    driver = Driver(library_version="580.95.05", module_version="580.82.07")
    finding = judge_mismatch(Gpus(0.0, (), driver))
    (news,) = evenings((finding,))[0]
    assert news.kind == "doctor"
    assert "a start will fail" in news.message
    assert "Reboot" in news.message
    assert news.data == {"check": "driver-in-one-piece", "result": "fail"}


def test_what_stays_wrong_is_told_once_and_what_is_mended_too() -> None:
    first, second, third = evenings(
        (TAKEN, SWAPS), (TAKEN, SWAPS), (ok("port", "free", "vllm"), SWAPS)
    )
    assert [line.kind for line in first] == ["doctor", "doctor"]
    assert second == []
    assert [(line.kind, line.message) for line in third] == [("mended", "port is well again")]


def test_what_could_not_be_checked_is_neither_mended_nor_told_again() -> None:
    _, second, third = evenings((TAKEN,), (unknown("port", "too slow", service="vllm"),), (TAKEN,))
    assert second == []
    assert third == []


def test_a_warning_that_becomes_a_failure_is_told_again() -> None:
    _, second = evenings((SWAPS,), (fail("host-memory", "gone", "Reboot."),))
    assert [line.data["result"] for line in second] == ["fail"]


findings = st.lists(
    st.builds(
        lambda make, name: make(name, "seen", "do"),
        st.sampled_from([fail, warning]),
        st.sampled_from("abc"),
    ),
    max_size=3,
    unique_by=lambda f: f.check,
)


@given(st.lists(findings, max_size=6))
def test_at_each_evening_the_state_is_exactly_what_is_wrong(nights: list[list[Finding]]) -> None:
    state = HostState()
    for night in nights:
        well = [ok(name, "well") for name in "abc" if name not in {f.check for f in night}]
        state = decide(state, HostExamined(0.0, (*night, *well)), NOTHING).state
        assert set(state.findings) == set(night)


@pytest.mark.parametrize(
    ("now", "then"),
    [
        ("2026-11-21 03:12", "2026-11-21 19:00"),
        ("2026-11-21 19:00", "2026-11-22 19:00"),
        ("2026-12-31 23:59", "2027-01-01 19:00"),
    ],
)
def test_the_examination_is_at_seven_in_the_evening(now: str, then: str) -> None:
    assert next_evening(datetime.fromisoformat(now)) == datetime.fromisoformat(then)


def test_what_was_removed_of_the_caches_is_told() -> None:
    examined = HostExamined(0.0, (), (Pruned("vllm", 3, 12 << 30),))
    (news,) = decide(HostState(), examined, NOTHING).news
    assert (news.service, news.kind) == ("vllm", "pruned")
    assert news.message == (
        "12.0 GiB of compiled code in 3 directories, which its last start did not use, are removed"
    )
