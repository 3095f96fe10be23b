# SPDX-License-Identifier: Apache-2.0
"""GPUs as NVML tells of them: all that a data centre card gives, and a GB10 that gives little."""

from __future__ import annotations

from dataclasses import replace

from agent.core.gpu.reading import (
    ClockEvents,
    Driver,
    Gpu,
    GpuMemory,
    GpuProcess,
    Gpus,
    PowerLimits,
)
from agent.core.state.card import Cap, Card, Cause, Heat, HeatLevel, LeverState, XidRecord
from agent.core.view.gpus import GpusView, view_of_gpus

GIB = 1 << 30
H200 = Gpu(
    index=0,
    uuid="GPU-aa",
    name="NVIDIA H200",
    pci_bus_id="00000000:01:00.0",
    serial="165",
    vbios_version="96.00",
    compute_capability="9.0",
    recovery_action=0,
    temperature_celsius=61.0,
    memory_temperature_celsius=70.0,
    margin_celsius=26.0,
    thresholds_celsius={"slowdown": 87.0},
    margin_thresholds_celsius={"slowdown": -2.0, "shutdown": -8.0},
    power_watts=512.5,
    power_instant_watts=540.0,
    power_limits=PowerLimits(600.0, 600.0, 700.0, 200.0, 700.0),
    energy_joules=123456.5,
    clocks_hertz={"sm": 1.5e9, "memory": 3.2e9},
    clocks_max_hertz={"sm": 1.98e9, "memory": 3.2e9},
    clock_events=ClockEvents.SW_POWER_CAP | ClockEvents.SW_THERMAL_SLOWDOWN,
    clock_events_supported=ClockEvents(0x1FF),
    clock_event_seconds={
        "sw_power_cap": 204.6,
        "sw_thermal": 3.5,
        "hw_thermal": 0.0,
        "hw_power_brake": 0.0,
    },
    utilization_ratio=0.97,
    memory_utilization_ratio=0.4,
    memory=GpuMemory(141 * GIB, 120 * GIB, 20 * GIB, GIB),
    processes=(
        GpuProcess(4711, "VLLM::EngineCore", 118 * GIB, "vllm.service"),
        GpuProcess(9, "python3", 2 * GIB, "user@1000.service"),
    ),
    ecc_enabled=True,
    ecc_errors={
        ("corrected", "volatile"): 3,
        ("uncorrected", "volatile"): 0,
        ("uncorrected", "aggregate"): 0,
    },
    retired_pages_pending=False,
    retired_pages={"single_bit": 0},
    remapped_rows={"corrected": 1, "uncorrected": 0},
    row_remap_pending=False,
    row_remap_failed=False,
    pcie_generation=5,
    pcie_generation_max=5,
    pcie_width=16,
    pcie_width_max=16,
    pcie_replays=0,
    performance_state=0,
    persistence_mode=True,
    mig_mode=False,
)
GB10 = Gpu(
    index=1,
    uuid="GPU-bb",
    name="NVIDIA GB10",
    temperature_celsius=38.0,
    clock_events=ClockEvents(0),
    clock_events_supported=ClockEvents(0x1FF),
    memory=GpuMemory(128 * GIB, 30 * GIB, 98 * GIB),
    memory_unified=True,
    processes=(),
)
RTX4090 = replace(
    H200,
    index=2,
    uuid="GPU-cc",
    name="NVIDIA GeForce RTX 4090",
    memory_temperature_celsius=None,
    ecc_errors={},
    fan_ratio=0.45,
)
DRIVER = Driver(library_version="580.95", module_version="580.95", cuda_version="13.0")
CARD = Card(
    "GPU-aa",
    name="NVIDIA H200",
    cap=Cap(
        state=LeverState.IN_FORCE,
        asked_watts=600.0,
        target_watts=600.0,
        reasserts={Cause.DRIVER_RELOAD: 2, Cause.FOREIGN: 1},
    ),
    heat=Heat(HeatLevel.WARNING),
    xids={13: XidRecord(4, 1000.0, (1000.0,)), 79: XidRecord(1, 900.0)},
)
CARDS = {"GPU-aa": CARD, "GPU-bb": Card("GPU-bb", 1, "NVIDIA GB10")}
GIVEN = {"vllm": ("0",), "embed": ("GPU-bb",)}


def some_gpus(*gpus: Gpu, driver: Driver = DRIVER, stale: bool = False) -> GpusView:
    """Returns the view of these cards, last asked about at 1049."""
    seen = Gpus(1049.0, gpus or (H200, GB10), driver)
    return view_of_gpus(seen, CARDS, GIVEN, stale=stale, ahead_seconds=0.0)


def many_gpus(count: int) -> GpusView:
    """Returns the view of a machine full of one card."""
    gpus = [replace(H200, index=index, uuid=f"GPU-{index}") for index in range(count)]
    return view_of_gpus(Gpus(1049.0, tuple(gpus), DRIVER), {}, GIVEN, stale=False, ahead_seconds=0)
