# SPDX-License-Identifier: Apache-2.0
"""action = "lower_power" against a thermal model of a card: it settles, and gives back."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.core.gpu.reading import ClockEvents
from agent.core.settings.gpus import Power, Thermal, ThermalAction
from agent.core.state.observations import GpuOutcome
from tests.given.simulated_gpus import GpuHost

SLOWDOWN = 90.0
LOWER = Thermal(action=ThermalAction.LOWER_POWER)


@dataclass
class Cooler:
    """A card of first order: its temperature goes to ambient + power * resistance, by and by.

    `seconds` is the time constant, `resistance` in degrees per watt. At the slowdown threshold the
    hardware halves the clocks, and the power with them, until it is 3 degrees below.
    """

    host: GpuHost
    seconds: float
    resistance: float
    ambient: float = 25.0
    demand: float = 430.0
    slowed: bool = False

    def __post_init__(self) -> None:
        self.celsius = self.ambient
        self.slow_seconds = 0.0
        self.limits: list[float] = []
        self.host.physics = self.move

    def move(self, seconds: float) -> None:
        limit = self.host.requested() or 0.0
        watts = min(self.demand, limit) * (0.5 if self.slowed else 1.0)
        goal = self.ambient + watts * self.resistance
        self.celsius += (goal - self.celsius) * (1 - math.exp(-seconds / self.seconds))
        self.slowed = self.celsius >= SLOWDOWN - (3.0 if self.slowed else 0.0)
        self.slow_seconds += seconds if self.slowed else 0.0
        self.limits.append(limit)
        events = ClockEvents.HW_THERMAL_SLOWDOWN if self.slowed else ClockEvents.SW_POWER_CAP
        self.host.change(
            temperature_celsius=round(self.celsius, 1),
            power_watts=watts,
            clock_events=events,
            clock_event_seconds={"hw_thermal": self.slow_seconds},
            clocks_hertz={"sm": 1.3e9 if self.slowed else 2.6e9},
        )

    def turns(self) -> int:
        """How often the limit changed its direction."""
        steps = [b - a for a, b in pairwise(self.limits) if a != b]
        return sum((a > 0) != (b > 0) for a, b in pairwise(steps))


def bare_host(power: Power, thermal: Thermal) -> GpuHost:
    host = GpuHost({}, power=power, thermal=thermal)
    host.agent_starts()
    return host


def model(seconds: float = 40.0, resistance: float = 0.17, power: Power | None = None) -> Cooler:
    host = bare_host(power=power or Power(limit_watts=430.0), thermal=LOWER)
    cooler = Cooler(host, seconds, resistance)
    host.pass_time(30)
    return cooler


@settings(max_examples=15, deadline=None)
@given(st.floats(5, 120), st.floats(0.16, 0.30), st.floats(15, 40))
def test_it_settles_without_swinging_and_never_goes_below_its_floor(
    seconds: float, resistance: float, ambient: float
) -> None:
    cooler = model(seconds, resistance)
    cooler.ambient = ambient
    cooler.host.pass_time(3600, step=2)
    floor = 0.5 * 430.0
    assert min(cooler.limits) >= floor
    assert cooler.turns() <= 4
    bearable = ambient + floor * resistance < SLOWDOWN - 4
    if bearable:
        cooler.slow_seconds = 0.0
        cooler.host.pass_time(900, step=2)
        assert cooler.slow_seconds < 0.05 * 900


@settings(max_examples=6, deadline=None)
@given(st.floats(5, 120), st.floats(0.17, 0.25))
def test_all_is_given_back_once_the_heat_wave_is_over(seconds: float, resistance: float) -> None:
    cooler = model(seconds, resistance)
    cooler.ambient = 40.0
    cooler.host.pass_time(1800, step=2)
    assert cooler.limits[-1] < 430.0
    cooler.ambient = 10.0
    cooler.demand = 250.0
    cooler.host.pass_time(4 * 3600, step=2)
    assert cooler.limits[-1] == 430.0
    assert cooler.host.remembered().heat.lowered_to_watts is None


def test_a_card_that_stays_cool_is_never_touched() -> None:
    cooler = model(resistance=0.12)
    cooler.host.pass_time(3600)
    assert set(cooler.limits[30:]) == {430.0}


def test_it_also_works_without_a_limit_in_the_file_and_gives_back_what_was_found() -> None:
    cooler = model(resistance=0.2, power=Power())
    cooler.host.pass_time(1200)
    assert cooler.limits[-1] < 450.0
    cooler.ambient, cooler.demand = 5.0, 200.0
    cooler.host.pass_time(3 * 3600, step=2)
    assert cooler.limits[-1] == 450.0


def test_a_floor_in_the_file_is_kept() -> None:
    host = bare_host(
        power=Power(limit_watts=430.0),
        thermal=Thermal(action=ThermalAction.LOWER_POWER, min_limit_watts=390.0, step_watts=15.0),
    )
    cooler = Cooler(host, 20.0, 0.4)
    host.pass_time(1800)
    assert min(cooler.limits[30:]) == 390.0
    assert "390 W, the floor" in host.said("power-lowered")[-1]


def test_how_soon_power_comes_back_is_in_the_file() -> None:
    quick = replace(LOWER, step_watts=50.0, cool_seconds=10.0, retry_seconds=60.0)
    host = bare_host(power=Power(limit_watts=430.0), thermal=quick)
    cooler = Cooler(host, 5.0, 0.17)
    cooler.ambient = 20.0
    host.pass_time(60)
    assert cooler.limits[-1] == 380.0
    cooler.ambient = 0.0
    host.pass_time(60)
    assert cooler.limits[-1] == 430.0
    (raised,) = host.said("power-raised")
    assert "power limit 380 -> 430 W, all that heat took: it has been cool for 10 s" in raised


def test_switching_it_off_gives_all_back_at_once() -> None:
    cooler = model(resistance=0.22)
    cooler.host.pass_time(600)
    assert cooler.limits[-1] < 430.0
    cooler.host.thermal = Thermal()
    cooler.host.reload()
    cooler.host.pass_time(30)
    assert cooler.limits[-1] == 430.0


def test_each_step_is_told_with_its_reason_and_none_as_a_drift() -> None:
    cooler = model(resistance=0.2)
    cooler.host.pass_time(1200)
    assert cooler.host.said("power-lowered")[0].startswith(
        "GPU 0 (NVIDIA GeForce RTX 4090): power limit 430 -> 408 W: the hardware slows it down at"
    )
    assert cooler.host.said("power-drift") == []


@pytest.mark.parametrize("end", [GpuOutcome.NOT_PERMITTED, GpuOutcome.FAILED])
def test_a_limit_that_cannot_be_set_is_not_lowered_in_a_loop(end: GpuOutcome) -> None:
    host = bare_host(power=Power(limit_watts=430.0), thermal=LOWER)
    host.ends = end
    cooler = Cooler(host, 20.0, 0.3)
    host.pass_time(3000)
    assert len(host.asked) <= 3
    assert cooler.limits[-1] == 450.0
