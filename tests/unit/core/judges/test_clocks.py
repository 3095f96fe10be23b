# SPDX-License-Identifier: Apache-2.0
"""Clocks jump: years ahead at boot, back by NTP, over a suspend. Nothing waits longer for it."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.failures.classes import FailureClass
from agent.core.state.card import Card, XidRecord
from agent.core.state.observations import AgentStarted
from agent.core.state.phases import Phase
from agent.core.state.rows.past import AHEAD, in_the_past, is_time
from agent.core.state.service import ServiceState
from tests.given.simulated_gpus import GpuHost, gpu_host

F = FailureClass
HOUR, YEAR = 3600.0, 365 * 86400.0
NO_TIMES = ("_seconds", "_gib", "_watts", "_celsius", "_ratio", "_joules", "too_high", "too_low")
ALL_BUT_TIMES = {
    *("asked", "running", "value", "fits", "gpu_memory_utilization", "numbers"),
    *("time_of_day", "logits"),
}
JUMPS = st.sampled_from([5.0, 60.0, HOUR, 8 * HOUR, 86400.0, 2 * YEAR])


def float_fields(kind: Any, seen: set[Any]) -> set[str]:
    """Return the names of all fields below a stored dataclass that hold a float."""
    if kind in seen:
        return set()
    seen.add(kind)
    names: set[str] = set()
    for f in fields(kind):
        hint = get_type_hints(kind)[f.name]
        if f.name == "live":
            continue
        for part in parts_of(hint):
            if part is float:
                names.add(f.name)
            elif isinstance(part, type) and is_dataclass(part):
                names |= float_fields(part, seen)
    return names


def parts_of(hint: Any) -> list[Any]:
    if get_origin(hint) is None:
        return [hint]
    return [part for inner in get_args(hint) for part in parts_of(inner)]


def test_every_stored_number_is_known_as_a_time_or_as_none() -> None:
    names = float_fields(ServiceState, set()) | float_fields(Card, set())
    others = {name for name in names if not is_time(name) and name not in AHEAD}
    assert {name for name in others if not name.endswith(NO_TIMES)} <= ALL_BUT_TIMES
    assert {"retry_at", "recent_starts", "since", "incidents", "faults"} <= names


def a_host() -> GpuHost:
    """Return a host of today: two years before it are still after 1970."""
    host = gpu_host()
    host.now = 1.7e9
    return host


def step_back(host: GpuHost, seconds: float) -> None:
    """Set the clock back, as NTP does, and let the agent start anew; engines go on by their own."""
    host.now -= seconds
    for run in host.runs.values():
        run.ready_at -= seconds
    host.agent_starts()


@given(back=JUMPS, deaths=st.integers(1, 4), waited=st.integers(0, 200))
@settings(max_examples=40, deadline=None)
def test_after_a_step_back_no_wait_is_longer_than_the_back_off(
    back: float, deaths: int, waited: int
) -> None:
    host = a_host()
    assert host.serving_within(200)
    for _ in range(deaths):
        if "vllm" in host.runs:
            host.dies(F.ENGINE_DEAD)
            host.carry_out()
        host.pass_time(3.0)
    host.pass_time(float(waited), step=5.0)
    step_back(host, back)
    host.carry_out()
    s = host.service()
    longest = host.policies["vllm"].recovery.backoff_max_seconds
    assert s.retry_at <= host.now + longest
    assert s.since <= host.now
    assert all(at <= host.now for at in s.recent_starts)
    assert host.serving_within(longest + 200)


@given(back=JUMPS)
@settings(max_examples=12, deadline=None)
def test_an_xid_after_a_step_back_is_counted_and_acted_on(back: float) -> None:
    host = a_host()
    assert host.serving_within(200)
    host.pass_time(120)
    host.sees_xid(13)
    host.pass_time(20)
    step_back(host, back)
    host.see_gpus()
    host.pass_time(30)
    assert host.serving_within(200)
    assert host.dies_of_xid(13) == 1
    failure = host.service().failure
    assert failure is not None
    assert failure.failure is F("xid-13")


@given(jump=JUMPS)
@settings(max_examples=12, deadline=None)
def test_a_jump_ahead_or_a_suspend_kills_nothing_that_serves(jump: float) -> None:
    host = a_host()
    assert host.serving_within(200)
    host.pass_time(60)
    host.now += jump
    host.pass_time(120)
    assert len(host.starts) == 1
    assert host.service().phase is Phase.SERVING


TIMES = st.floats(0, 4e9, allow_nan=False)


@given(now=st.floats(1e9, 2e9), since=TIMES, retry=TIMES, starts=st.lists(TIMES, max_size=5))
def test_what_happened_is_past_and_what_is_past_stays_as_it_was(
    now: float, since: float, retry: float, starts: list[float]
) -> None:
    s = ServiceState("vllm", since=since, retry_at=retry, recent_starts=tuple(starts))
    seen = in_the_past(s, now)
    newest = max(since, *starts, 0.0)
    assert seen.since <= now
    assert all(at <= now for at in seen.recent_starts)
    if newest <= now:
        assert seen == s
    else:
        assert seen.retry_at <= max(0.0, now + retry - newest) + 1e-3
        pairs = zip(starts, seen.recent_starts, strict=True)
        assert all(after == before for before, after in pairs if before <= now)


def test_an_error_counted_in_the_future_does_not_hide_one_of_now() -> None:
    card = Card("GPU-aa", xids={13: XidRecord(1, 2e9, (2e9,))})
    seen = in_the_past(card, 1e9)
    assert seen.xids[13].last_at == 0.0
    assert seen.xids[13].incidents == (1e9,)


def test_times_are_set_right_before_anything_is_decided_by_them() -> None:
    host = a_host()
    assert host.serving_within(200)
    host.now -= 8 * HOUR
    host.observe(AgentStarted(host.now, host.boot))
    assert host.service().since <= host.now
