# SPDX-License-Identifier: Apache-2.0
"""Heat and throttling, told as they happen, and what is done about them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.core.engine.metrics import Counters
from agent.core.gpu.reading import ClockEvents, Gpu, PowerLimits
from agent.core.settings.gpus import Power, Thermal, ThermalAction
from agent.core.state.card import HeatLevel
from agent.core.state.phases import Phase
from tests.given.simulated_gpus import GB10, RTX4090, GpuHost, gpu_host

DRAIN = Thermal(action=ThermalAction.DRAIN, warning_celsius=80, critical_celsius=90)


def serving(host: GpuHost | None = None) -> GpuHost:
    host = host or gpu_host()
    assert host.serving_within(120)
    host.pass_time(60)
    return host


def level(host: GpuHost) -> HeatLevel:
    return host.remembered().heat.level


def test_a_temperature_counts_once_it_lasted_and_is_over_once_it_fell_enough() -> None:
    host = gpu_host(thermal=Thermal(warning_celsius=80, critical_celsius=90))
    host.change(temperature_celsius=82.0)
    host.pass_time(8)
    assert level(host) is HeatLevel.NORMAL
    host.pass_time(5)
    assert level(host) is HeatLevel.WARNING
    host.change(temperature_celsius=77.0)
    host.pass_time(60)
    assert level(host) is HeatLevel.WARNING
    host.change(temperature_celsius=74.0)
    host.pass_time(12)
    assert level(host) is HeatLevel.NORMAL
    assert len(host.said("heat-warning")) == len(host.said("heat-over")) == 1


def test_a_temperature_that_swings_around_its_threshold_is_told_once() -> None:
    host = gpu_host(thermal=Thermal(warning_celsius=80, critical_celsius=90))
    for second in range(600):
        host.change(temperature_celsius=79.0 + 3.0 * (second // 15 % 2))
        host.pass_time(1)
    assert len(host.said("heat-warning")) == 1
    assert host.said("heat-over") == []


def test_without_a_temperature_in_the_file_the_cards_own_thresholds_decide() -> None:
    host = gpu_host()
    host.change(temperature_celsius=84.0)
    host.pass_time(15)
    assert level(host) is HeatLevel.WARNING
    host.change(temperature_celsius=91.0)
    host.pass_time(15)
    assert level(host) is HeatLevel.CRITICAL
    assert "91 C, 90 C and more is critical" in host.said("heat-critical")[0]


def test_a_card_that_tells_only_the_degrees_left_is_judged_by_them() -> None:
    card = replace(
        RTX4090,
        thresholds_celsius={},
        margin_celsius=22.0,
        margin_thresholds_celsius={"max_operating": 0.0, "slowdown": -2.0, "shutdown": -7.0},
    )
    host = gpu_host(card)
    host.change(temperature_celsius=85.0, margin_celsius=-2.0)
    host.pass_time(15)
    assert level(host) is HeatLevel.CRITICAL


def test_a_card_that_tells_no_threshold_is_never_hot_by_guess() -> None:
    host = gpu_host(GB10)
    host.change(temperature_celsius=94.0)
    host.pass_time(60)
    assert level(host) is HeatLevel.NORMAL


def test_a_drained_service_stops_when_critical_and_comes_back_once_it_is_cool() -> None:
    host = serving(gpu_host(thermal=DRAIN))
    host.change(temperature_celsius=92.0)
    host.pass_time(30)
    assert host.service().phase is Phase.HELD
    assert "too hot" in host.service().reason
    host.change(temperature_celsius=82.0)
    host.pass_time(120)
    assert host.service().phase is Phase.HELD
    host.change(temperature_celsius=60.0)
    assert host.serving_within(120)
    assert len(host.starts) == 2
    assert host.service().restarts == {}


@pytest.mark.parametrize("action", [ThermalAction.ALERT, ThermalAction.LOWER_POWER])
def test_no_other_action_than_drain_stops_a_service(action: ThermalAction) -> None:
    host = serving(gpu_host(thermal=replace(DRAIN, action=action)))
    host.change(temperature_celsius=95.0, clock_events=ClockEvents.HW_THERMAL_SLOWDOWN)
    host.pass_time(900)
    assert host.service().phase is Phase.SERVING
    assert len(host.starts) == 1


def test_a_throttled_card_is_told_as_cause_and_effect_when_it_begins_and_when_it_ends() -> None:
    host = gpu_host()
    host.load = lambda work: Counters(running=4, generation_tokens=100 * work)
    host = serving(host)
    host.pass_time(120)
    host.load = lambda work: Counters(running=4, generation_tokens=12_000 + 50 * work)
    host.change(
        temperature_celsius=91.0,
        clock_events=ClockEvents.HW_THERMAL_SLOWDOWN | ClockEvents.HW_SLOWDOWN,
        clocks_hertz={"sm": 1.4e9},
    )
    host.pass_time(60)
    assert host.said("throttled") == [
        "GPU 0 (NVIDIA GeForce RTX 4090) is slowed down (HW_THERMAL_SLOWDOWN at 91 C): "
        "SM clock at 50% of its maximum, vllm generates 50% of its usual tokens/s"
    ]
    host.change(clock_events=ClockEvents(0), clocks_hertz={"sm": 2.6e9})
    host.pass_time(60)
    (over,) = host.said("throttle-over")
    assert "after 5" in over
    assert "up to 91 C, SM clock down to 50%, tokens/s down to 50%" in over


def test_what_the_throttled_time_costs_does_not_become_the_usual() -> None:
    host = gpu_host()
    host.load = lambda work: Counters(running=4, generation_tokens=100 * work)
    host = serving(host)
    host.pass_time(60)
    host.change(clock_events=ClockEvents.HW_THERMAL_SLOWDOWN)
    host.load = lambda work: Counters(running=4, generation_tokens=50 * work + 1e6)
    host.pass_time(1800)
    assert host.service().live.usual_tokens_per_second == pytest.approx(100, rel=0.05)


def test_a_throttle_between_two_looks_is_seen_by_its_counter() -> None:
    host = serving()
    host.change(clock_event_seconds={"hw_thermal": 4.0})
    host.pass_time(1)
    assert host.remembered().throttle is not None
    host.change(clock_event_seconds={"hw_thermal": 8.0})
    host.pass_time(10)
    host.change(clock_event_seconds={"hw_thermal": 9.5})
    host.pass_time(60)
    assert len(host.said("throttled")) == len(host.said("throttle-over")) == 1


CALM = [
    ClockEvents.GPU_IDLE,
    ClockEvents.APPLICATIONS_CLOCKS_SETTING,
    ClockEvents.SW_POWER_CAP,
    ClockEvents.SYNC_BOOST,
    ClockEvents.DISPLAY_CLOCK_SETTING,
    ClockEvents.SW_POWER_CAP | ClockEvents.SYNC_BOOST,
]


@pytest.mark.parametrize("reasons", CALM)
def test_idle_and_a_power_cap_at_the_limit_never_alarm(reasons: ClockEvents) -> None:
    host = serving(gpu_host(power=Power(limit_watts=300.0)))
    host.change(power_watts=296.0, clock_events=reasons)
    host.pass_time(3600)
    assert host.said("throttled") == []
    assert host.remembered().throttle is None


def test_a_power_cap_far_below_the_limit_is_a_finding_told_once() -> None:
    host = serving()
    host.change(
        power_watts=170.0, clock_events=ClockEvents.SW_POWER_CAP, clocks_hertz={"sm": 1.2e9}
    )
    host.pass_time(3600)
    (told,) = host.said("throttled")
    assert "SW_POWER_CAP at 170 W of 450 W" in told
    host.change(power_watts=440.0)
    host.pass_time(10)
    assert len(host.said("throttle-over")) == 1


def test_a_power_reading_that_no_card_can_draw_is_not_believed() -> None:
    limits = PowerLimits(35.0, 35.0, 35.0, 5.0, 35.0)
    card = replace(RTX4090, power_watts=588.0, power_limits=limits)
    host = serving(gpu_host(card))
    host.change(clock_events=ClockEvents.SW_POWER_CAP)
    host.pass_time(600)
    assert host.said("throttled") == []


def test_low_clocks_without_any_reason_are_a_hidden_throttle() -> None:
    host = serving()
    host.change(clocks_hertz={"sm": 0.6e9})
    host.pass_time(50)
    assert not host.remembered().hidden_throttle_since
    host.pass_time(30)
    assert host.remembered().hidden_throttle_since
    (told,) = host.said("throttled")
    assert "no reason is given" in told


def test_locked_clocks_are_no_hidden_throttle() -> None:
    host = serving(gpu_host(GB10, power=Power(lock_clocks_mhz=(0, 1000))))
    host.change(clocks_hertz={"sm": 1.0e9})
    host.pass_time(600)
    assert host.said("throttled") == []


def test_hw_slowdown_without_a_cause_counts_only_once_it_lasts() -> None:
    host = serving()
    for _ in range(20):
        host.change(clock_events=ClockEvents.HW_SLOWDOWN)
        host.pass_time(2)
        host.change(clock_events=ClockEvents(0))
        host.pass_time(2)
    assert host.said("throttled") == []
    host.change(clock_events=ClockEvents.HW_SLOWDOWN)
    host.pass_time(20)
    assert len(host.said("throttled")) == 1


def test_a_card_that_gives_nothing_is_judged_by_nothing() -> None:
    host = serving(gpu_host(Gpu(0, "GPU-0")))
    host.pass_time(600)
    assert {line.kind for line in host.history if "gpu" in line.data} == set()
