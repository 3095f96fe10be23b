# SPDX-License-Identifier: Apache-2.0
"""One card's readings in base units, in three rings: each look, every 10 s, every minute."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from agent.core.gpu.reading import ClockEvents, Gpu, GpuMemory, GpuProcess, PowerLimits
from agent.host.nvidia.calls import CardCalls, real, word
from agent.host.nvidia.fields import MARGINS, CardFields, Field, time_ids
from agent.host.nvidia.processes import process_of
from agent.host.nvidia.unified_memory import host_memory

GPU_SENSOR: Final = 0
CLOCKS: Final = {"sm": 1, "memory": 2, "video": 3}
"""NVML_CLOCK_*."""
THRESHOLDS: Final = {"shutdown": 0, "slowdown": 1, "memory_max": 2, "max_operating": 3}
"""NVML_TEMPERATURE_THRESHOLD_*."""
ECC: Final = {
    ("corrected", "volatile"): (0, 0),
    ("corrected", "aggregate"): (0, 1),
    ("uncorrected", "volatile"): (1, 0),
    ("uncorrected", "aggregate"): (1, 1),
}
RETIRED: Final = {"single_bit": 0, "double_bit": 1}
MEMORY_V2: Final = 2 << 24 | 40
"""nvmlMemory_v2: the size of the structure and its version."""
UNIFIED_SHARE: Final = 0.9
RESETS: Final = frozenset({1, 4, 6})
"""Recovery actions that are resets of the card: reset, drain and reset, bus reset."""

FAST: Final = (Field.POWER_AVERAGE, Field.POWER_INSTANT, Field.MEMORY_TEMPERATURE)
MEDIUM: Final = (
    *(Field.ENERGY, Field.PCIE_REPLAYS, Field.RECOVERY_ACTION),
    *(Field.REMAPPED_CORRECTED, Field.REMAPPED_UNCORRECTED),
    *(Field.REMAP_PENDING, Field.REMAP_FAILED),
    *(Field.LIMIT_REQUESTED, Field.LIMIT_ENFORCED, Field.LIMIT_DEFAULT),
    *(Field.LIMIT_MIN, Field.LIMIT_MAX),
    *MARGINS.values(),
)


class NvmlCard:
    """Reads one card; raises CardLostError, CardNeedsResetError and NvmlError as CardCalls does."""

    def __init__(self, calls: CardCalls, index: int, driver_version: str, proc: Path) -> None:
        self._calls = calls
        self._proc = proc
        self._times = time_ids(driver_version)
        self._fields = CardFields(calls)
        self.last = Gpu(index, calls.text("nvmlDeviceGetUUID") or "")
        """What is known of the card."""

    def identify(self) -> None:
        """Read what does not change while the driver is loaded."""
        ask = self._calls
        capability = ask.ask("nvmlDeviceGetCudaComputeCapability")
        pci = ask.ask("nvmlDeviceGetPciInfo")
        supported = ask.first(
            "nvmlDeviceGetSupportedClocksEventReasons",
            "nvmlDeviceGetSupportedClocksThrottleReasons",
        )
        self.last = replace(
            self.last,
            name=ask.text("nvmlDeviceGetName") or "",
            pci_bus_id=word(pci.busId) if pci is not None else "",
            serial=ask.text("nvmlDeviceGetSerial"),
            vbios_version=ask.text("nvmlDeviceGetVbiosVersion"),
            compute_capability=".".join(map(str, capability)) if capability else None,
            thresholds_celsius=self._several("nvmlDeviceGetTemperatureThreshold", THRESHOLDS),
            clocks_max_hertz=self._several("nvmlDeviceGetMaxClockInfo", CLOCKS, 1e6),
            clock_events_supported=None if supported is None else ClockEvents(supported),
            pcie_generation_max=ask.number("nvmlDeviceGetMaxPcieLinkGeneration"),
            pcie_width_max=ask.number("nvmlDeviceGetMaxPcieLinkWidth"),
        )

    def look(self, *, medium: bool, slow: bool, processes: bool) -> Gpu:
        """Read the fast ring, and the others where they are due."""
        self._calls.problem = ""
        # A card that was lost or reset shows so at its first call.
        gpu = self._read_fast(replace(self.last, lost=False), medium=medium)
        if slow:
            gpu = self._read_slow(gpu)
        if slow or processes:
            gpu = replace(gpu, processes=self._processes())
        reset = gpu.recovery_action in RESETS
        self.last = replace(gpu, reset_required=reset, problem=self._calls.problem)
        return self.last

    def lost(self, why: str) -> Gpu:
        """Return the card as one that has fallen off the bus."""
        self.last = replace(self.last, lost=True, problem=why)
        return self.last

    def needs_reset(self, why: str) -> Gpu:
        """Return the card as one that gives nothing until it is reset."""
        self.last = replace(self.last, lost=False, reset_required=True, problem=why)
        return self.last

    def _read_fast(self, gpu: Gpu, *, medium: bool) -> Gpu:
        ask = self._calls
        temperature = ask.number("nvmlDeviceGetTemperatureV", GPU_SENSOR)
        if temperature is None:
            temperature = ask.number("nvmlDeviceGetTemperature", GPU_SENSOR)
        fields = self._fields.read((*FAST, *MEDIUM, *self._times.values()) if medium else FAST)
        power = fields.get(Field.POWER_AVERAGE)
        if power is None:
            power = ask.number("nvmlDeviceGetPowerUsage")
        events = ask.first(
            "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"
        )
        work = ask.ask("nvmlDeviceGetUtilizationRates")
        memory, unified = self._memory(gpu)
        sm = ask.number("nvmlDeviceGetClockInfo", CLOCKS["sm"])
        gpu = replace(
            gpu,
            temperature_celsius=_float(temperature),
            # 0 degrees: some cards without the sensor say so instead of "not supported".
            memory_temperature_celsius=_float(fields.get(Field.MEMORY_TEMPERATURE) or None),
            power_watts=_per(power, 1000),
            power_instant_watts=_per(fields.get(Field.POWER_INSTANT), 1000),
            clocks_hertz={**gpu.clocks_hertz, "sm": sm * 1e6} if sm else gpu.clocks_hertz,
            clock_events=None if events is None else ClockEvents(events),
            utilization_ratio=None if work is None else work.gpu / 100,
            memory_utilization_ratio=None if work is None else work.memory / 100,
            memory=memory,
            memory_unified=unified,
        )
        return self._read_medium(gpu, fields) if medium else gpu

    def _memory(self, gpu: Gpu) -> tuple[GpuMemory | None, bool]:
        """Return the card's memory, or the host's and True for a card that has none of its own.

        Such a card has no memory clock; its driver refuses the call, or answers with about the
        host's total. A discrete card may well be bigger than its host's memory.
        """
        known = self._calls.ask("nvmlDeviceGetMemoryInfo", MEMORY_V2)
        reserved = real(known.reserved) if known is not None else None
        if known is None:
            known = self._calls.ask("nvmlDeviceGetMemoryInfo")
        own_clock = "memory" in gpu.clocks_max_hertz
        if known is not None and own_clock:
            return GpuMemory(known.total, known.used, known.free, reserved), False
        host = None if own_clock else host_memory(self._proc)
        if host is not None and (known is None or known.total >= UNIFIED_SHARE * host.total_bytes):
            return host, True
        if known is None:
            return None, False
        return GpuMemory(known.total, known.used, known.free, reserved), False

    def _read_medium(self, gpu: Gpu, fields: dict[int, int]) -> Gpu:
        ask = self._calls
        others = {name: number for name, number in CLOCKS.items() if name != "sm"}
        clocks = self._several("nvmlDeviceGetClockInfo", others, 1e6)
        replays = fields.get(Field.PCIE_REPLAYS)
        return replace(
            gpu,
            margin_celsius=_float(ask.number("nvmlDeviceGetMarginTemperature")),
            margin_thresholds_celsius={
                name: float(fields[id_]) for name, id_ in MARGINS.items() if id_ in fields
            },
            power_limits=self._limits(fields),
            energy_joules=_per(fields.get(Field.ENERGY), 1000),
            clocks_hertz={**gpu.clocks_hertz, **clocks},
            clock_event_seconds={
                name: fields[id_] / 1e9 for name, id_ in self._times.items() if id_ in fields
            },
            remapped_rows=dict(_named(fields, "corrected", "uncorrected")),
            row_remap_pending=_flag(fields.get(Field.REMAP_PENDING)),
            row_remap_failed=_flag(fields.get(Field.REMAP_FAILED)),
            recovery_action=fields.get(Field.RECOVERY_ACTION),
            pcie_replays=ask.number("nvmlDeviceGetPcieReplayCounter")
            if replays is None
            else replays,
            fan_ratio=_per(ask.number("nvmlDeviceGetFanSpeed"), 100),
            persistence_mode=ask.flag("nvmlDeviceGetPersistenceMode"),
            performance_state=ask.number("nvmlDeviceGetPerformanceState"),
        )

    def _limits(self, fields: dict[int, int]) -> PowerLimits:
        """Return the limits; older drivers give them by calls of their own."""
        ask = self._calls
        asked, enforced = fields.get(Field.LIMIT_REQUESTED), fields.get(Field.LIMIT_ENFORCED)
        usual = fields.get(Field.LIMIT_DEFAULT)
        low, high = fields.get(Field.LIMIT_MIN), fields.get(Field.LIMIT_MAX)
        if asked is None:
            asked = ask.number("nvmlDeviceGetPowerManagementLimit")
        if enforced is None:
            enforced = ask.number("nvmlDeviceGetEnforcedPowerLimit")
        if usual is None:
            usual = ask.number("nvmlDeviceGetPowerManagementDefaultLimit")
        if low is None or high is None:
            low, high = ask.ask("nvmlDeviceGetPowerManagementLimitConstraints") or (None, None)
        return PowerLimits(*(_per(limit, 1000) for limit in (asked, enforced, usual, low, high)))

    def _read_slow(self, gpu: Gpu) -> Gpu:
        ask = self._calls
        enabled = ask.flag("nvmlDeviceGetEccMode")
        counted = enabled is not False
        return replace(
            gpu,
            ecc_enabled=enabled,
            ecc_errors=dict(self._ecc_errors()) if counted else {},
            retired_pages=dict(self._retired_pages()) if counted else {},
            retired_pages_pending=ask.flag("nvmlDeviceGetRetiredPagesPendingStatus"),
            pcie_generation=ask.number("nvmlDeviceGetCurrPcieLinkGeneration"),
            pcie_width=ask.number("nvmlDeviceGetCurrPcieLinkWidth"),
            mig_mode=ask.flag("nvmlDeviceGetMigMode"),
        )

    def _ecc_errors(self) -> Iterator[tuple[tuple[str, str], int]]:
        for kind, numbers in ECC.items():
            if (count := self._calls.number("nvmlDeviceGetTotalEccErrors", *numbers)) is not None:
                yield kind, count

    def _retired_pages(self) -> Iterator[tuple[str, int]]:
        for cause, number in RETIRED.items():
            if (pages := self._calls.ask("nvmlDeviceGetRetiredPages", number)) is not None:
                yield cause, len(pages)

    def _processes(self) -> tuple[GpuProcess, ...] | None:
        listed = self._calls.first(
            "nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2"
        )
        if listed is None:
            return None
        return tuple(process_of(one.pid, real(one.usedGpuMemory), self._proc) for one in listed)

    def _several(self, name: str, numbers: dict[str, int], scale: float = 1.0) -> dict[str, float]:
        values = {word: self._calls.number(name, number) for word, number in numbers.items()}
        return {word: value * scale for word, value in values.items() if value is not None}


def _named(fields: dict[int, int], *words: str) -> Iterator[tuple[str, int]]:
    for name, id_ in zip(
        words, (Field.REMAPPED_CORRECTED, Field.REMAPPED_UNCORRECTED), strict=True
    ):
        if id_ in fields:
            yield name, fields[id_]


def _float(value: int | None) -> float | None:
    return None if value is None else float(value)


def _per(value: int | None, divisor: int) -> float | None:
    return None if value is None else value / divisor


def _flag(value: int | None) -> bool | None:
    return None if value is None else bool(value)
