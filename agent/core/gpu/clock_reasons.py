# SPDX-License-Identifier: Apache-2.0
"""Which clock event reasons tell of trouble, and which are a card's ordinary life.

Idle, application clocks, sync boost and display clocks never are. The power cap is what a limit is
for; only far below the limit it says that something else holds the card. HW_SLOWDOWN is an umbrella
that also shows during a change of clocks; its two causes have bits of their own. A bit that is
polled misses what happens in between; the driver's counters of time do not.
"""

from __future__ import annotations

from agent.core.gpu.reading import ClockEvents, Gpu

ALARMING = {
    "HW_THERMAL_SLOWDOWN": (ClockEvents.HW_THERMAL_SLOWDOWN, "hw_thermal"),
    "HW_POWER_BRAKE_SLOWDOWN": (ClockEvents.HW_POWER_BRAKE_SLOWDOWN, "hw_power_brake"),
    "SW_THERMAL_SLOWDOWN": (ClockEvents.SW_THERMAL_SLOWDOWN, "sw_thermal"),
}
"""By NVML's name: the bit, and the counter that gives the time spent in it."""

COUNTED_SHARE = 0.05
"""Below this share of the time between two looks a counter's growth is a blink."""

FAR_BELOW = 0.8
BUSY = 0.9
SLOW = 0.6
IMPOSSIBLE = 1.5
"""A power reading above this many times the highest limit is a fault of the sensor (588 W of a
35 W part was seen)."""


def alarming(gpu: Gpu, before: Gpu | None, seconds: float) -> tuple[str, ...]:
    """Return NVML's names of the reasons that hold now or held for a part of `seconds`."""
    return tuple(
        name
        for name, (bit, counter) in ALARMING.items()
        if _active(gpu, bit) or _counted(gpu, before, counter, seconds)
    )


def hardware_heat(gpu: Gpu, before: Gpu | None) -> bool:
    """Tell whether the hardware slows the card down for its heat, or did since the last look."""
    bit, counter = ALARMING["HW_THERMAL_SLOWDOWN"]
    return _active(gpu, bit) or _counted(gpu, before, counter, 0.0)


def umbrella_alone(gpu: Gpu) -> bool:
    """Tell whether only HW_SLOWDOWN shows, without a cause."""
    causes = ClockEvents.HW_THERMAL_SLOWDOWN | ClockEvents.HW_POWER_BRAKE_SLOWDOWN
    return _active(gpu, ClockEvents.HW_SLOWDOWN) and not _active(gpu, causes)


def capped_far_below(gpu: Gpu) -> bool:
    """Tell whether a busy card is held by the power cap though it draws far less than its limit."""
    draw, limit = believable_watts(gpu), gpu.power_limits.enforced_watts
    if draw is None or limit is None or not _active(gpu, ClockEvents.SW_POWER_CAP):
        return False
    return draw < FAR_BELOW * limit and (gpu.utilization_ratio or 0.0) >= BUSY


def hidden(gpu: Gpu, locked_mhz: int | None) -> bool:
    """Tell whether a busy card runs far below its clock and no reason is given."""
    ratio = clock_ratio(gpu, locked_mhz)
    if ratio is None or gpu.clock_events is None or gpu.clock_events:
        return False
    return (gpu.utilization_ratio or 0.0) >= BUSY and ratio < SLOW


def clock_ratio(gpu: Gpu, locked_mhz: int | None = None) -> float | None:
    """Return the SM clock as a share of what it may be at most."""
    clock, most = gpu.clocks_hertz.get("sm"), gpu.clocks_max_hertz.get("sm")
    if locked_mhz is not None:
        most = min(most or locked_mhz * 1e6, locked_mhz * 1e6)
    return None if clock is None or not most else clock / most


def believable_watts(gpu: Gpu) -> float | None:
    """Return the power draw, None when it is more than the card can draw."""
    highest = gpu.power_limits.max_watts
    if gpu.power_watts is None or (highest and gpu.power_watts > IMPOSSIBLE * highest):
        return None
    return gpu.power_watts


def _active(gpu: Gpu, bit: ClockEvents) -> bool:
    return bool(gpu.clock_events and gpu.clock_events & bit)


def _counted(gpu: Gpu, before: Gpu | None, counter: str, seconds: float) -> bool:
    now = gpu.clock_event_seconds.get(counter)
    then = before.clock_event_seconds.get(counter) if before is not None else None
    return now is not None and then is not None and now - then > COUNTED_SHARE * seconds
