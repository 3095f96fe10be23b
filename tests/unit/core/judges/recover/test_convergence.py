# SPDX-License-Identifier: Apache-2.0
"""Raising and lowering come to an end: on any card, with any model and any neighbour."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from agent.core.failures.classes import FailureClass
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.phases import Phase
from tests.given.simulated_engine import Card, failure_at_start
from tests.given.simulated_host import SimulatedHost

F = FailureClass
MOST_CHANGES = 25
LOWEST, HIGHEST = Recovery().min_gpu_memory_utilization, Recovery().max_gpu_memory_utilization
TOO_LOW = (F.OOM_KV_NONE, F.OOM_KV_TOO_SMALL_FOR_MAXLEN)

cards = st.builds(
    Card,
    total=st.sampled_from([16.0, 24.0, 80.0]),
    others=st.floats(0.2, 6.0),
    weights=st.floats(2.0, 60.0),
    activation=st.floats(0.1, 4.0),
    kv_gib_per_1024_tokens=st.sampled_from([0.03, 0.125, 0.5]),
    graphs=st.floats(0.0, 3.0),
)
asked = st.builds(
    Settings,
    name=st.just("vllm"),
    model=st.just("/srv/m"),
    gpu_memory_utilization=st.sampled_from([0.5, 0.7, 0.8, 0.9, 0.95, 0.97]),
    max_model_len=st.sampled_from([4096, 8192, 32768, 131072]),
)


def at_rest(card: Card, wanted: Settings) -> SimulatedHost:
    host = SimulatedHost({"vllm": ServicePolicy(wanted)}, card, start_takes=20.0)
    host.agent_starts()
    host.carry_out()
    host.pass_time(4 * 3600, step=30.0)
    return host


def can_serve(card: Card, wanted: Settings) -> bool:
    """Tells whether any utilization within the limits serves what was asked, unchanged."""
    tried = (replace(wanted, gpu_memory_utilization=n / 100) for n in range(50, 98))
    return any(failure_at_start(card, settings) is None for settings in tried)


@given(cards, asked)
@example(Card(others=2.5, weights=14.0, graphs=1.0), Settings("vllm", "/srv/m"))
@example(Card(16.0, others=5.0, weights=12.0), Settings("vllm", "/srv/m", max_model_len=4096))
@settings(max_examples=60, deadline=None)
def test_the_values_tried_come_to_an_end_and_none_is_tried_that_is_known_to_fail(
    card: Card, wanted: Settings
) -> None:
    host = at_rest(card, wanted)
    assert sum(line.kind == "learned" for line in host.history) <= MOST_CHANGES
    late = {start.gpu_memory_utilization for at, _, start in host.starts if at > host.now - 3600}
    assert len(late) <= 1
    assert_each_start_could_succeed(host, card)
    if can_serve(card, wanted):
        assert host.service().phase is Phase.SERVING, host.service().reason


def assert_each_start_could_succeed(host: SimulatedHost, card: Card) -> None:
    """Fails for a value between none that failed as too low and none that failed as too high."""
    low, high = 0.0, 1.1
    before: Settings | None = None
    begun_anew = [line for line in host.history if line.kind == "forgotten"]
    for _, _, start in host.starts:
        value = start.gpu_memory_utilization or 0.92
        others = replace(start, gpu_memory_utilization=None)
        if before is None or others != replace(before, gpu_memory_utilization=None):
            low, high = 0.0, 1.1
        elif start != before and not begun_anew:
            assert low < value < high
        failed = failure_at_start(card, start)
        if failed is not None and failed[0] in TOO_LOW:
            low = max(low, value)
        elif failed is not None:
            high = min(high, value)
        assert LOWEST <= value <= HIGHEST
        before = start
