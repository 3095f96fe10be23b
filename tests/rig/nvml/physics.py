# SPDX-License-Identifier: Apache-2.0
"""A card's power, temperature and clocks as they follow from its load, its limit and the room.

A model with one time constant, no more than it takes to show cause and effect: a lower limit or a
cooler room ends the throttling. A card takes part once it has a `load` (0 to 1) in the state.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from .state_file import Section, StateFile

IDLE, SW_POWER_CAP, HW_SLOWDOWN = 0x1, 0x4, 0x8
SW_THERMAL, HW_THERMAL = 0x20, 0x40


@dataclass(frozen=True, slots=True)
class Card:
    """One card at one moment: watts, degrees Celsius, clocks as a share of the maximum."""

    idle_watts: float
    full_watts: float
    limit_watts: float
    load: float
    ambient: float
    slowdown: float
    temperature: float
    watts: float = 0.0
    clock: float = 1.0
    reasons: int = 0

    @property
    def degrees_per_watt(self) -> float:
        """Full power in a room of 25 degrees ends 15 degrees below the slowdown."""
        return (self.slowdown - 15 - 25) / self.full_watts


def step(card: Card, seconds: float, time_constant: float = 8.0) -> Card:
    """Returns the card `seconds` later."""
    wanted = card.idle_watts + (card.full_watts - card.idle_watts) * card.load
    reasons, allowed = 0, wanted
    if card.load < 0.01:
        reasons |= IDLE
    if wanted > card.limit_watts:
        reasons |= SW_POWER_CAP
        allowed = card.limit_watts
    if card.temperature >= card.slowdown:
        # Hardware halves the clocks at once.
        reasons |= HW_SLOWDOWN | HW_THERMAL
        allowed = min(allowed, wanted / 2)
    elif card.temperature >= card.slowdown - 2:
        reasons |= SW_THERMAL
        allowed = min(allowed, wanted * 0.8)
    # Power grows with about the cube of the clock.
    clock = (allowed / wanted) ** (1 / 3) if card.load else 0.1
    goal = card.ambient + allowed * card.degrees_per_watt
    share = min(1.0, seconds / time_constant)
    return replace(
        card,
        watts=allowed,
        clock=clock,
        reasons=reasons,
        temperature=card.temperature + (goal - card.temperature) * share,
    )


def advance(state: StateFile, gpu: int, seconds: float) -> None:
    """Moves one card of the state on, its counters too; in one change of the file."""
    state.change(lambda sections: _advance(sections[f"gpu {gpu}"], seconds))


def _advance(section: Section, seconds: float) -> None:
    def number(key: str, otherwise: float) -> float:
        return float(section.get(key, otherwise))

    full = number("power_default_mw", 100_000) / 1000
    limit = number("power_enforced_mw", number("power_limit_mw", 1e9)) / 1000
    temperature = number("temperature_exact", number("temperature", 40))
    slowdown = number("slowdown", 85)
    card = step(
        Card(
            idle_watts=full * 0.08,
            full_watts=full,
            limit_watts=limit,
            load=number("load", 0),
            ambient=number("ambient", 25),
            slowdown=slowdown,
            temperature=temperature,
        ),
        seconds,
    )
    section["temperature_exact"] = f"{card.temperature:.3f}"
    section["temperature"] = str(round(card.temperature))
    if "margin" in section:
        section["margin"] = str(round(slowdown - 2 - card.temperature))
    section["power_mw"] = section["power_instant_mw"] = str(round(card.watts * 1000))
    section["reasons"] = hex(card.reasons)
    section["utilization"] = str(round(card.load * 100))
    for domain in ("graphics", "sm"):
        most = number(f"clock_{domain}_max", 2000)
        section[f"clock_{domain}"] = str(round(most * card.clock))
    _count(section, "energy_mj", card.watts * 1000 * seconds)
    for bit, key in (
        (SW_POWER_CAP, "time_sw_power_cap_ns"),
        (SW_THERMAL, "time_sw_thermal_ns"),
        (HW_THERMAL, "time_hw_thermal_ns"),
        (SW_THERMAL | HW_THERMAL, "time_thermal_ns"),
    ):
        if card.reasons & bit:
            _count(section, key, seconds * 1e9)


def _count(section: Section, key: str, more: float) -> None:
    if key in section:
        section[key] = str(int(float(section[key]) + more))


def run(state: StateFile, period: float, speed: float = 1.0) -> None:
    """Moves all cards that have a load, for ever; `speed` seconds of theirs in one of ours."""
    while True:
        for gpu in state.gpus():
            if state.get(gpu, "load") is not None:
                advance(state, gpu, period * speed)
        time.sleep(period)
