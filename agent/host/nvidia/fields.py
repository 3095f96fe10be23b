# SPDX-License-Identifier: Apache-2.0
"""Many values in one call: nvmlDeviceGetFieldValues, by field ids of nvml.h.

The times of software thermal, hardware thermal and power brake slowdown have moved between
drivers (nvidia-ml-py 12.570 to 13.595 compared): none up to 570, 251 to 253 in 575 and in 580
before 580.82, 269 to 271 since; there 251 means something else again.
"""

from __future__ import annotations

import ctypes
import re
from enum import IntEnum
from typing import Any, Final

from agent.host.nvidia.calls import LACKING, CardCalls, Code, real


class Field(IntEnum):
    """Ids that never moved."""

    TIME_SW_POWER_CAP = 74
    TIME_THERMAL = 75
    TIME_SYNC_BOOST = 76
    TIME_BOARD_LIMIT = 77
    TIME_RELIABILITY = 79
    MEMORY_TEMPERATURE = 82
    ENERGY = 83
    PCIE_REPLAYS = 94
    REMAPPED_CORRECTED = 142
    REMAPPED_UNCORRECTED = 143
    REMAP_PENDING = 144
    REMAP_FAILED = 145
    POWER_AVERAGE = 185
    POWER_INSTANT = 186
    LIMIT_MIN = 187
    LIMIT_MAX = 188
    LIMIT_DEFAULT = 189
    LIMIT_ENFORCED = 190
    LIMIT_REQUESTED = 192
    MARGIN_SHUTDOWN = 193
    MARGIN_SLOWDOWN = 194
    MARGIN_MEMORY_MAX = 195
    MARGIN_MAX_OPERATING = 196
    RECOVERY_ACTION = 230


MARGINS: Final = {
    "shutdown": Field.MARGIN_SHUTDOWN,
    "slowdown": Field.MARGIN_SLOWDOWN,
    "memory_max": Field.MARGIN_MEMORY_MAX,
    "max_operating": Field.MARGIN_MAX_OPERATING,
}
TIMES: Final = {
    "sw_power_cap": Field.TIME_SW_POWER_CAP,
    "thermal_policy": Field.TIME_THERMAL,
    "sync_boost": Field.TIME_SYNC_BOOST,
    "board_limit": Field.TIME_BOARD_LIMIT,
    "reliability": Field.TIME_RELIABILITY,
}
THERMAL_TIMES: Final = ("sw_thermal", "hw_thermal", "hw_power_brake")
"""In the order of their three ids, wherever these are."""
_SIGNED: Final = frozenset(MARGINS.values())
_MEMBERS: Final = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
"""The member of the value by its type, nvmlValueType_t."""
_ULL: Final = 3


def time_ids(driver_version: str) -> dict[str, int]:
    """Return the field id of each time that this driver counts."""
    numbers = [int(word) for word in re.findall(r"\d{1,9}", driver_version)][:2]
    major, minor = (*numbers, 0, 0)[:2]
    ids: dict[str, int] = dict(TIMES)
    if major >= 575:
        base = 251 if (major, minor) < (580, 82) else 269
        ids |= {name: base + place for place, name in enumerate(THERMAL_TIMES)}
    return ids


class CardFields:
    """The fields of one card; those that it lacks are asked for once."""

    def __init__(self, calls: CardCalls) -> None:
        self._calls = calls
        self._lacking: set[int] = set()

    def read(self, ids: tuple[int, ...]) -> dict[int, int]:
        """Return those values that the card gives, in NVML's units; one call."""
        wanted = tuple(id_ for id_ in ids if id_ not in self._lacking)
        return self._read(wanted) if wanted else {}

    def _read(self, ids: tuple[int, ...]) -> dict[int, int]:
        code, values = self._calls.outcome("nvmlDeviceGetFieldValues", ids)
        if code == Code.INVALID_ARGUMENT and len(ids) > 1:
            # A very old driver refuses the whole batch for one id that it does not know.
            middle = len(ids) // 2
            return self._read(ids[:middle]) | self._read(ids[middle:])
        if code in LACKING:
            self._lacking.update(ids)
        return self._found(ids, values) if code == 0 else {}

    def _found(self, ids: tuple[int, ...], values: Any) -> dict[int, int]:
        found: dict[int, int] = {}
        for id_, value in zip(ids, values, strict=True):
            code = int(value.nvmlReturn)
            number = _number(id_, value) if code == 0 else None
            if number is not None:
                found[id_] = number
            elif code in LACKING:
                self._lacking.add(id_)
            elif code:
                self._calls.refused(f"field {id_}", code)
        return found


def _number(id_: int, value: Any) -> int | None:
    kind = int(value.valueType)
    if not 0 <= kind < len(_MEMBERS):
        return None
    # The times are 64 bits wide; another type means that the id is another driver's.
    if (id_ in TIMES.values() or id_ >= 251) and kind != _ULL:
        return None
    number = real(getattr(value.value, _MEMBERS[kind]))
    if number is not None and id_ in _SIGNED:
        return ctypes.c_int32(number).value
    return number
