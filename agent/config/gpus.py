# SPDX-License-Identifier: Apache-2.0
"""[power] with its tables for single GPUs, and [thermal] -> Power and Thermal."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from agent.config.values import (
    Keys,
    Mistake,
    WrongValueError,
    as_toml,
    boolean,
    number,
    one_of,
    read_table,
)
from agent.core.settings.gpus import CardLimits, Power, Thermal, ThermalAction

HIGHEST_WATTS = 3000.0
HIGHEST_MHZ = 10_000


def clock_range(value: object) -> tuple[int, int]:
    """Read [LOWEST, HIGHEST] in MHz."""
    match value:
        case [int() as low, int() as high] if bool not in (type(low), type(high)):
            if 0 <= low <= high <= HIGHEST_MHZ:
                return low, high
            text = f"[{low}, {high}] must rise and be from 0 to {HIGHEST_MHZ} MHz"
            raise WrongValueError(text)
        case _:
            raise WrongValueError(
                f"{as_toml(value)} is not a pair of integers, as [0, 2100] in MHz"
            )


LIMITS: Keys = {
    "limit_watts": number(10.0, HIGHEST_WATTS),
    "limit_ratio": number(0.1, 1.5),
    "lock_clocks_mhz": clock_range,
}

POWER: Keys = {**LIMITS, "persistence_mode": boolean}

THERMAL: Keys = {
    "action": one_of(*(action.value for action in ThermalAction)),
    "warning_celsius": number(30.0, 120.0),
    "critical_celsius": number(30.0, 120.0),
    "hysteresis_celsius": number(0.0, 30.0),
    "after_seconds": number(0.0, 600.0),
    "min_limit_watts": number(10.0, HIGHEST_WATTS),
    "step_watts": number(1.0, 500.0),
    "cool_seconds": number(1.0, 3600.0),
    "retry_seconds": number(0.0, 86_400.0),
}


def read_power(raw: object, mistakes: list[Mistake]) -> Power:
    """Read [power]; notes every mistake and goes on."""
    values = read_table(raw, ("power",), POWER, mistakes, tables=("gpu",))
    tables = raw.get("gpu", {}) if isinstance(raw, dict) else {}
    if not isinstance(tables, dict):
        text = f'{as_toml(tables)} is not a table; write [power.gpu."*RTX 4090*"]'
        mistakes.append(Mistake(("power", "gpu"), text))
        tables = {}
    gpu = {}
    for pattern, table in tables.items():
        path = ("power", "gpu", pattern)
        elsewhere = {"persistence_mode": ("power",)}
        limits = read_table(table, path, LIMITS, mistakes, elsewhere=elsewhere)
        _one_limit(limits, path, mistakes)
        gpu[pattern] = CardLimits(**limits)
    _one_limit(values, ("power",), mistakes)
    return Power(**values, gpu=MappingProxyType(gpu))


def _one_limit(values: dict[str, Any], path: tuple[str, ...], mistakes: list[Mistake]) -> None:
    if "limit_watts" in values and "limit_ratio" in values:
        text = "beside limit_watts; keep one of the two"
        mistakes.append(Mistake((*path, "limit_ratio"), text))


def read_thermal(raw: object, mistakes: list[Mistake]) -> Thermal:
    """Read [thermal]; notes every mistake and goes on."""
    values = read_table(raw, ("thermal",), THERMAL, mistakes)
    warning, critical = values.get("warning_celsius"), values.get("critical_celsius")
    if warning is not None and critical is not None and warning >= critical:
        text = f"{critical:g} must be above warning_celsius ({warning:g})"
        mistakes.append(Mistake(("thermal", "critical_celsius"), text))
    if "action" in values:
        values["action"] = ThermalAction(values["action"])
    return Thermal(**values)
