# SPDX-License-Identifier: Apache-2.0
"""The wall clock is set between two processes of the agent in one boot: all waits stay as long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.failures.classes import FailureClass
from agent.core.state.card import Card, XidRecord
from agent.core.state.phases import Phase
from agent.core.state.rows.past import AHEAD, COUNTED, LEAST_SECONDS, by_the_clock_of_now, is_time
from agent.core.state.service import ServiceState
from agent.core.state.steering.wishes import Drain, Pause, PlannedRestart
from tests.given.simulated_gpus import GpuHost, gpu_host

F = FailureClass
HOUR, YEAR = 3600.0, 365 * 86400.0

SET = st.sampled_from([1.0, 5.0, 60.0, HOUR, 8 * HOUR, 86400.0, 2 * YEAR, 20 * YEAR])
EITHER_WAY = st.builds(lambda seconds, ahead: seconds if ahead else -seconds, SET, st.booleans())
BOOTED = 1.6e9


def a_serving_host() -> GpuHost:
    """Return a host that serves, whose agents tell of the boot."""
    host = gpu_host()
    host.now, host.booted_at = BOOTED + 86400.0, BOOTED
    host.agent_starts()
    assert host.serving_within(200)
    return host


def a_paused_host() -> GpuHost:
    """Return a host that serves and is paused for two hours."""
    host = a_serving_host()
    host.state = replace(host.state, pause=Pause(host.now, host.now + 2 * HOUR, "root"))
    return host


def the_clock_is_set(host: GpuHost, seconds: float, away: float = 0.0) -> None:
    """Set the clock while no agent runs, `away` seconds long, and let another one start."""
    host.now += seconds + away
    host.booted_at += seconds
    for run in host.runs.values():
        run.ready_at += seconds
    host.agent_starts()


@given(jump=EITHER_WAY, away=st.sampled_from([0.0, 30.0, HOUR]))
@settings(max_examples=40, deadline=None)
def test_a_pause_is_as_long_as_it_was_meant_to_be(jump: float, away: float) -> None:
    host = a_paused_host()
    the_clock_is_set(host, jump, away)
    pause = host.state.pause
    assert pause is not None
    assert pause.until - host.now == 2 * HOUR - away
    assert pause.until - pause.since == 2 * HOUR


@given(first=EITHER_WAY, again=EITHER_WAY)
@settings(max_examples=20, deadline=None)
def test_however_often_it_is_set(first: float, again: float) -> None:
    host = a_paused_host()
    for jump in (first, again, -first):
        the_clock_is_set(host, jump)
    pause = host.state.pause
    assert pause is not None
    assert pause.until - host.now == 2 * HOUR


def test_over_a_boot_only_the_wall_clock_is_known() -> None:
    host = a_paused_host()
    assert host.state.pause is not None
    until = host.state.pause.until
    host.now += HOUR
    host.booted_at = host.now - 60.0
    host.reboots()
    assert host.state.pause.until == until
    assert host.state.booted_at == host.booted_at


def test_what_an_agent_left_that_told_of_no_boot_is_taken_by_the_wall_clock() -> None:
    host = a_paused_host()
    pause = host.state.pause
    host.state = replace(host.state, booted_at=0.0)
    the_clock_is_set(host, HOUR)
    assert host.state.pause == pause


@given(slewed=st.floats(-LEAST_SECONDS, LEAST_SECONDS, exclude_min=True, exclude_max=True))
def test_a_clock_that_is_slewed_moves_nothing(slewed: float) -> None:
    s = ServiceState("vllm", since=9.0, retry_at=99.0)
    assert by_the_clock_of_now(s, slewed, 100.0) is s


def times_of(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Give each time below a value, by the name of its field."""
    if isinstance(value, float) and (is_time(name) or name in AHEAD):
        yield name, value
    elif isinstance(value, tuple):
        for part in value:
            yield from times_of(part, name)
    elif isinstance(value, dict):
        for part in value.values():
            yield from times_of(part, name)
    elif is_dataclass(value) and not isinstance(value, type):
        for f in fields(value):
            if f.name != "live":
                yield from times_of(getattr(value, f.name), f.name)


PAST = st.floats(1.0, 1e6)


@given(phase=st.sampled_from(Phase), jump=EITHER_WAY, ages=st.lists(PAST, min_size=7, max_size=7))
def test_in_each_phase_all_waits_and_ages_stay(
    phase: Phase, jump: float, ages: list[float]
) -> None:
    now = 1.7e9
    at = [now - age for age in ages]
    s = ServiceState(
        "vllm",
        phase,
        since=at[0],
        retry_at=now + ages[0],
        recent_starts=tuple(sorted(at[1:4])),
        started_at=at[4],
        pause=Pause(at[5], now + ages[5], "root"),
        drain=Drain(at[6], now + ages[6], "root"),
        planned_restart=PlannedRestart(at[6], "root", now + ages[6], when_idle=True),
    )
    seen = by_the_clock_of_now(s, jump, now + jump)
    before, after = dict(times_of(s)), dict(times_of(seen))
    assert before.keys() == after.keys()
    for name, time in before.items():
        apart = after[name] - (now + jump) - (time - now)
        assert abs(apart) < 1e-3 or time == 0.0, name
    assert seen.phase is phase


def test_a_restart_at_a_time_of_day_is_one_by_the_clock_as_it_is_now() -> None:
    plan = PlannedRestart(1e9, "root", 1e9 + HOUR, time_of_day=3 * HOUR)
    s = ServiceState("vllm", since=1e9, planned_restart=plan)
    seen = by_the_clock_of_now(s, 60.0, 1e9 + 60.0)
    assert seen.planned_restart == replace(plan, since=1e9 + 60.0)


def test_an_error_that_came_before_the_clock_was_set_ahead_is_counted_still() -> None:
    """The journal has it by the clock of then: up to when it was counted is not moved."""
    card = Card("GPU-aa", xids={13: XidRecord(1, 1e9, (1e9,))})
    seen = by_the_clock_of_now(card, HOUR, 1e9 + HOUR)
    assert getattr(seen.xids[13], COUNTED) == 1e9
    assert seen.xids[13].incidents == (1e9 + HOUR,)


def test_an_xid_after_a_step_ahead_is_counted_and_acted_on() -> None:
    host = a_serving_host()
    host.sees_xid(13)
    host.pass_time(20)
    the_clock_is_set(host, 8 * HOUR)
    host.see_gpus()
    host.pass_time(30)
    assert host.serving_within(200)
    assert host.dies_of_xid(13) == 1
