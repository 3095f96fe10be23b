# SPDX-License-Identifier: Apache-2.0
"""Properties: whatever happens in a night, the promises hold."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.diagnosis.numbers import Numbers
from agent.core.failures.classes import FailureClass, Kind
from agent.core.failures.meaning import kind_of
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.actions import Action
from agent.core.state.phases import Phase
from tests.given.simulated_engine import Card
from tests.given.simulated_host import SimulatedHost

F = FailureClass
RECOVERY = Recovery(max_starts_per_hour=12)
CURABLE = (
    *(F.ENGINE_DEAD, F.UNKNOWN, F.OOM_RUNTIME, F.CUDA_ILLEGAL_MEMORY_ACCESS, F.HUB_UNREACHABLE),
    *(F.PORT_IN_USE, F.MEM_PROFILING_RACE, F.HOST_OOM_KILLED),
)

events = st.lists(
    st.tuples(
        st.one_of(
            st.sampled_from([("dies", f) for f in CURABLE]),
            st.sampled_from([("hangs", None), ("agent-dies", None), ("reboot", None)]),
            st.sampled_from([("actions-lost", None), ("reload", None)]),
            st.floats(0.0, 8.0).map(lambda gib: ("neighbour", gib)),
        ),
        st.integers(0, 900),
    ),
    max_size=12,
)


def a_host(card: Card | None = None) -> SimulatedHost:
    asked = Settings("vllm", "/srv/m", gpu_memory_utilization=0.92, max_model_len=16384)
    host = SimulatedHost({"vllm": ServicePolicy(asked, recovery=RECOVERY)}, card or Card())
    host.agent_starts()
    host.carry_out()
    return host


def happen(host: SimulatedHost, what: str, detail: object) -> None:
    running = host.runs.get("vllm")
    match what:
        case "dies" if running is not None:
            assert isinstance(detail, FailureClass)
            host.dies(detail, Numbers(total_gib=host.card.total))
            host.carry_out()
        case "hangs" if running is not None:
            host.hangs()
        case "agent-dies":
            host.agent_starts()
        case "actions-lost":
            # kill -9 between recording a decision and carrying it out
            host.lose_actions = lambda _action: True
            if running is not None:
                host.dies(F.ENGINE_DEAD)
            host.carry_out()
            host.lose_actions = lambda _action: False
            host.agent_starts()
        case "reboot":
            host.reboots()
        case "reload":
            host.reload()
        case "neighbour":
            assert isinstance(detail, float)
            host.card.others = 0.5 + detail


@pytest.mark.parametrize("start_takes", [20.0, 120.0])
@given(night=events)
@settings(max_examples=40, deadline=None)
def test_after_the_last_curable_fault_it_serves_again(
    start_takes: float, night: list[tuple[tuple[str, object], int]]
) -> None:
    host = a_host()
    host.start_takes = start_takes
    for (what, detail), wait in night:
        happen(host, what, detail)
        host.pass_time(wait, step=5.0)
    host.card.others = 0.5
    # A budget of starts may ask for an hour; a hang is seen within its limits; then one start.
    assert host.serving_within(3600 + 600 + 3 * start_takes), host.service().reason


@given(night=events)
@settings(max_examples=40, deadline=None)
def test_restarts_and_settings_stay_within_their_bounds(
    night: list[tuple[tuple[str, object], int]],
) -> None:
    host = a_host()
    reboots = 0
    for (what, detail), wait in night:
        reboots += what == "reboot"
        happen(host, what, detail)
        host.pass_time(wait, step=5.0)
    times = [at for at, _, _ in host.starts]
    for first in times:
        within_an_hour = sum(first <= at < first + 3600 for at in times)
        assert within_an_hour <= RECOVERY.max_starts_per_hour * (1 + reboots) + reboots
    for _, _, used in host.starts:
        utilization = used.gpu_memory_utilization or 0.0
        assert RECOVERY.min_gpu_memory_utilization <= utilization
        assert utilization <= RECOVERY.max_gpu_memory_utilization
        assert (used.max_model_len or 0) >= RECOVERY.min_max_model_len


@given(failure=st.sampled_from(sorted(FailureClass)), after=st.integers(1, 200))
@settings(max_examples=150, deadline=None)
def test_held_if_and_only_if_nothing_but_a_person_can_help(
    failure: FailureClass, after: int
) -> None:
    host = a_host()
    host.pass_time(after, step=5.0)
    host.dies(failure, status=1)
    host.carry_out()
    held = host.service().phase is Phase.HELD
    if kind_of(failure) is Kind.TRANSIENT:
        assert not held
    if held:
        assert kind_of(failure) is not Kind.TRANSIENT
        assert host.service().what_to_do
        host.pass_time(60)
        assert host.units["vllm"].active_state == "inactive", "a held service is stopped"


@given(lost=st.integers(0, 6), faults=st.lists(st.sampled_from(CURABLE), max_size=3))
@settings(max_examples=40, deadline=None)
def test_kill_9_of_the_agent_at_any_step_of_a_recovery_loses_nothing(
    lost: int, faults: list[FailureClass]
) -> None:
    host = a_host(Card(others=3.0))
    count = 0

    def dies_here(_action: Action) -> bool:
        nonlocal count
        count += 1
        return count == lost

    host.lose_actions = dies_here
    for _ in range(60):
        before = count
        host.pass_time(1)
        if before < lost <= count:
            host.agent_starts()
    for fault in faults:
        if "vllm" in host.runs:
            host.dies(fault)
            host.carry_out()
        host.agent_starts()
    assert host.serving_within(1200), host.service().reason
    used = host.starts[-1][2].gpu_memory_utilization
    assert used is not None
    assert used <= 0.86
