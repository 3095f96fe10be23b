# SPDX-License-Identifier: Apache-2.0
"""What an operator asks of the GPUs: [power] and [thermal] of agent.toml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from fnmatch import fnmatchcase
from types import MappingProxyType

from agent.core.record import dataclass


@dataclass(frozen=True, slots=True)
class CardLimits:
    """What a card is held to; None leaves that lever alone.

    `limit_ratio` is a share of the card's default limit, `lock_clocks_mhz` the lowest and the
    highest clock in MHz, for cards that have no power limit.
    """

    limit_watts: float | None = None
    limit_ratio: float | None = None
    lock_clocks_mhz: tuple[int, int] | None = None

    @property
    def caps_power(self) -> bool:
        """Whether a power limit is asked for."""
        return self.limit_watts is not None or self.limit_ratio is not None

    @property
    def anything(self) -> bool:
        """Whether anything at all is asked for."""
        return self.caps_power or self.lock_clocks_mhz is not None


@dataclass(frozen=True, slots=True)
class Power:
    """[power]: what holds for each card that no table of `gpu` matches; as in CardLimits.

    A key of `gpu` is a card's UUID, its index, or a pattern of its name ("*RTX 4090*"); the first
    that matches, in the file's order, stands for [power] as a whole on that card.
    `persistence_mode`: True turns it on, False leaves it as it is.
    """

    limit_watts: float | None = None
    limit_ratio: float | None = None
    lock_clocks_mhz: tuple[int, int] | None = None
    persistence_mode: bool = False
    gpu: Mapping[str, CardLimits] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def every_card(self) -> CardLimits:
        """What a card is held to that has no table of its own."""
        return CardLimits(self.limit_watts, self.limit_ratio, self.lock_clocks_mhz)

    def limits_of(self, uuid: str, index: int, name: str) -> CardLimits:
        """Return what the card is held to."""
        for pattern, limits in self.gpu.items():
            if pattern in (uuid, str(index)) or fnmatchcase(name.lower(), pattern.lower()):
                return limits
        return self.every_card

    @property
    def anything(self) -> bool:
        """Whether any card may have to be held to something."""
        return self.every_card.anything or any(limits.anything for limits in self.gpu.values())


class ThermalAction(StrEnum):
    """What to do about heat, beside telling."""

    ALERT = "alert"
    LOWER_POWER = "lower_power"
    DRAIN = "drain"


@dataclass(frozen=True, slots=True)
class Thermal:
    """[thermal]. Without a temperature of its own, the card's thresholds decide.

    `after_seconds` is how long a temperature must last to count, `hysteresis_celsius` how far it
    must fall below before it is over. Of "lower_power": `min_limit_watts` is the floor (None:
    the card's own), `step_watts` how much is taken or given at once (None: 5 % of the limit),
    `cool_seconds` how long a card is cool before it gets a step back, `retry_seconds` how long a
    limit that was too hot is not tried again.
    """

    action: ThermalAction = ThermalAction.ALERT
    warning_celsius: float | None = None
    critical_celsius: float | None = None
    hysteresis_celsius: float = 5.0
    after_seconds: float = 10.0
    min_limit_watts: float | None = None
    step_watts: float | None = None
    cool_seconds: float = 120.0
    retry_seconds: float = 1800.0
