# SPDX-License-Identifier: Apache-2.0
"""What is kept of the last hours: the numbers that explain a slow night."""

from __future__ import annotations

from agent.core.engine.metrics import Counters
from agent.core.gpu.reading import ClockEvents, Gpu
from agent.core.past.track import Column, Reading
from agent.core.state.phases import Phase
from agent.core.state.service import ServiceState

HELD_BACK = (
    ClockEvents.HW_SLOWDOWN
    | ClockEvents.SW_THERMAL_SLOWDOWN
    | ClockEvents.HW_THERMAL_SLOWDOWN
    | ClockEvents.HW_POWER_BRAKE_SLOWDOWN
)
"""Reasons for low clocks that no setting asks for: heat, and the power supply."""
HELD_BACK_COUNTERS = ("hw_thermal", "sw_thermal", "thermal_policy", "hw_power_brake")


ANSWERS = frozenset({Phase.VERIFYING, Phase.SERVING})
"""Phases in which the last counters are those of now."""


def _counters(s: ServiceState) -> Counters | None:
    return s.live.counters if s.phase in ANSWERS else None


def _generation(s: ServiceState, _at: float) -> Reading:
    counters = _counters(s)
    return None if counters is None else (counters.generation_tokens, s.live.counters_at)


def _prompt(s: ServiceState, _at: float) -> Reading:
    counters = _counters(s)
    return None if counters is None else (counters.prompt_tokens, s.live.counters_at)


def _first_token(s: ServiceState, _at: float) -> Reading:
    counters = _counters(s)
    if counters is None or counters.first_token_seconds is None:
        return None
    return (counters.first_token_seconds, counters.first_tokens or 0.0)


def _running(s: ServiceState, _at: float) -> Reading:
    counters = _counters(s)
    return None if counters is None else float(counters.running)


def _waiting(s: ServiceState, _at: float) -> Reading:
    counters = _counters(s)
    return None if counters is None else float(counters.waiting)


def _kv_cache(s: ServiceState, _at: float) -> Reading:
    counters = _counters(s)
    return None if counters is None else counters.kv_cache_usage


OF_A_SERVICE: tuple[Column[ServiceState], ...] = (
    Column("generation_tokens_per_second", _generation),
    Column("prompt_tokens_per_second", _prompt),
    Column("first_token_seconds", _first_token),
    Column("requests_running", _running, highest=True),
    Column("requests_waiting", _waiting, highest=True),
    Column("kv_cache_usage_ratio", _kv_cache, highest=True),
)


def _memory_temperature(gpu: Gpu, _at: float) -> Reading:
    return gpu.memory_temperature_celsius


def _power(gpu: Gpu, at: float) -> Reading:
    return gpu.power_watts if gpu.energy_joules is None else (gpu.energy_joules, at)


def _held_back(gpu: Gpu, at: float) -> Reading:
    """Return the share of time in which heat or the power supply kept the clocks down.

    The reasons' times are added up: which of them holds the clocks may change.
    """
    counted = gpu.clock_event_seconds
    if any(name in counted for name in HELD_BACK_COUNTERS):
        return (sum(counted.get(name, 0.0) for name in HELD_BACK_COUNTERS), at)
    return None if gpu.clock_events is None else float(bool(gpu.clock_events & HELD_BACK))


OF_A_GPU: tuple[Column[Gpu], ...] = (
    Column("temperature_celsius", lambda gpu, _at: gpu.temperature_celsius, highest=True),
    Column("memory_temperature_celsius", _memory_temperature, highest=True),
    Column("power_watts", _power),
    Column("sm_clock_hertz", lambda gpu, _at: gpu.clocks_hertz.get("sm")),
    Column("throttled_ratio", _held_back, highest=True, most=1.0),
    Column("utilization_ratio", lambda gpu, _at: gpu.utilization_ratio, highest=True),
)
