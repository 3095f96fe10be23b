# SPDX-License-Identifier: Apache-2.0
"""What NVML says of each GPU as rows; what a card does not give has no sample."""

from __future__ import annotations

from collections.abc import Iterator

from agent.core.gpu.reading import ClockEvents
from agent.core.view.gpus import REASONS, GpuView
from agent.daemon.metrics.families import Row, Value, counter, counters, each, gauge, gauges

EVERYWHERE_SUPPORTED = ClockEvents(0x1FF)
"""What every card from Turing to Blackwell says that it supports (nvidia-smi -q captures)."""


def _power(view: GpuView) -> Iterator[Value]:
    for window, watts in (
        ("average", view.gpu.power_watts),
        ("instant", view.gpu.power_instant_watts),
    ):
        if watts is not None:
            yield (window,), watts


def _limits(view: GpuView) -> Iterator[Value]:
    limits = view.gpu.power_limits
    for kind, watts in (
        ("requested", limits.requested_watts),
        ("enforced", limits.enforced_watts),
        ("default", limits.default_watts),
        ("min", limits.min_watts),
        ("max", limits.max_watts),
    ):
        if watts is not None:
            yield (kind,), watts


def _memory(view: GpuView) -> Iterator[Value]:
    memory = view.gpu.memory
    if memory is None:
        return
    yield ("total",), memory.total_bytes
    yield ("used",), memory.used_bytes
    yield ("free",), memory.free_bytes
    if memory.reserved_bytes is not None:
        yield ("reserved",), memory.reserved_bytes


def _events(view: GpuView) -> Iterator[Value]:
    """Yield the reasons that the card can give, and any other that it gives."""
    active = view.gpu.clock_events
    if active is None:
        return
    possible = active | (view.gpu.clock_events_supported or EVERYWHERE_SUPPORTED)
    for name, bit in REASONS:
        if possible & bit:
            yield (name,), bool(active & bit)


READINGS: tuple[Row[GpuView], ...] = (
    gauge(
        "llmagent_gpu_reset_required",
        "Whether a GPU must be reset before it can be used.",
        lambda one: one.gpu.reset_required,
    ),
    gauge(
        "llmagent_gpu_recovery_action",
        "What the driver asks for: 0 none, 1 GPU reset, 2 reboot, 3 drain, 4 drain and reset.",
        lambda one: one.gpu.recovery_action,
    ),
    gauge(
        "llmagent_gpu_temperature_celsius",
        "Temperature of the GPU.",
        lambda one: one.gpu.temperature_celsius,
    ),
    gauge(
        "llmagent_gpu_memory_temperature_celsius",
        "Temperature of the memory.",
        lambda one: one.gpu.memory_temperature_celsius,
    ),
    gauge(
        "llmagent_gpu_thermal_margin_celsius",
        "Degrees left until a GPU slows down.",
        lambda one: one.gpu.margin_celsius,
    ),
    gauge(
        "llmagent_gpu_utilization_ratio",
        "Share of time in which the GPU had work.",
        lambda one: one.gpu.utilization_ratio,
    ),
    gauge(
        "llmagent_gpu_memory_utilization_ratio",
        "Share of time in which the memory was read or written.",
        lambda one: one.gpu.memory_utilization_ratio,
    ),
    gauge(
        "llmagent_gpu_memory_unified",
        "Whether a GPU has no memory of its own and its memory is the host's.",
        lambda one: one.gpu.memory_unified,
    ),
    gauge("llmagent_gpu_ecc_enabled", "Whether ECC is on.", lambda one: one.gpu.ecc_enabled),
    gauge(
        "llmagent_gpu_retired_pages_pending",
        "Whether memory pages are to be taken out of use at the next reset.",
        lambda one: one.gpu.retired_pages_pending,
    ),
    gauge(
        "llmagent_gpu_row_remap_pending",
        "Whether memory rows are to be replaced at the next reset.",
        lambda one: one.gpu.row_remap_pending,
    ),
    gauge(
        "llmagent_gpu_row_remap_failed",
        "Whether a memory row could not be replaced: the card is to be exchanged.",
        lambda one: one.gpu.row_remap_failed,
    ),
    gauge(
        "llmagent_gpu_pcie_link_generation",
        "PCIe generation of the link.",
        lambda one: one.gpu.pcie_generation,
    ),
    gauge(
        "llmagent_gpu_pcie_link_generation_max",
        "The highest PCIe generation.",
        lambda one: one.gpu.pcie_generation_max,
    ),
    gauge(
        "llmagent_gpu_pcie_link_width", "PCIe lanes of the link.", lambda one: one.gpu.pcie_width
    ),
    gauge(
        "llmagent_gpu_pcie_link_width_max",
        "The most PCIe lanes.",
        lambda one: one.gpu.pcie_width_max,
    ),
    gauge(
        "llmagent_gpu_fan_speed_ratio",
        "Fan speed as a share of the highest; some cards go above 1.",
        lambda one: one.gpu.fan_ratio,
    ),
    gauge(
        "llmagent_gpu_pstate",
        "Performance state, 0 the highest.",
        lambda one: one.gpu.performance_state,
    ),
    gauge(
        "llmagent_gpu_persistence_mode",
        "Whether the driver stays loaded when nobody uses the GPU.",
        lambda one: one.gpu.persistence_mode,
    ),
    gauge(
        "llmagent_gpu_mig_mode", "Whether the GPU is divided (MIG).", lambda one: one.gpu.mig_mode
    ),
    counter(
        "llmagent_gpu_energy_joules",
        "Energy since the driver was loaded.",
        lambda one: one.gpu.energy_joules,
    ),
    counter(
        "llmagent_gpu_pcie_replays",
        "PCIe packets that had to be sent again.",
        lambda one: one.gpu.pcie_replays,
    ),
    gauges(
        "llmagent_gpu_temperature_threshold_celsius",
        "Where a GPU slows down or shuts down, on cards that tell it as a temperature.",
        ("threshold",),
        lambda one: each(one.gpu.thresholds_celsius.items()),
    ),
    gauges(
        "llmagent_gpu_thermal_margin_threshold_celsius",
        "The same as a thermal margin, on cards that tell it so.",
        ("threshold",),
        lambda one: each(one.gpu.margin_thresholds_celsius.items()),
    ),
    gauges(
        "llmagent_gpu_power_watts", "Power draw; average is over one second.", ("window",), _power
    ),
    gauges(
        "llmagent_gpu_power_limit_watts",
        "Power limits: enforced is the lowest of all that limit the card.",
        ("kind",),
        _limits,
    ),
    gauges(
        "llmagent_gpu_clock_hertz",
        "Present clocks.",
        ("domain",),
        lambda one: each(one.gpu.clocks_hertz.items()),
    ),
    gauges(
        "llmagent_gpu_clock_max_hertz",
        "The highest that clocks can be.",
        ("domain",),
        lambda one: each(one.gpu.clocks_max_hertz.items()),
    ),
    gauges(
        "llmagent_gpu_clock_event_active",
        "Whether a reason keeps the clocks from being higher, by NVML's name.",
        ("reason",),
        _events,
    ),
    gauges(
        "llmagent_gpu_memory_bytes",
        "Memory; reserved is the driver's own share.",
        ("state",),
        _memory,
    ),
    gauges(
        "llmagent_gpu_remapped_rows",
        "Memory rows that were replaced, by the kind of error.",
        ("cause",),
        lambda one: each(one.gpu.remapped_rows.items()),
    ),
    gauges(
        "llmagent_gpu_retired_pages",
        "Memory pages that were taken out of use, by the kind of error.",
        ("cause",),
        lambda one: each(one.gpu.retired_pages.items()),
    ),
    counters(
        "llmagent_gpu_clock_event_seconds",
        "Time for which a reason kept the clocks down, since the driver was loaded.",
        ("reason",),
        lambda one: each(one.gpu.clock_event_seconds.items()),
    ),
    counters(
        "llmagent_gpu_ecc_errors",
        "ECC errors: volatile since the driver was loaded, aggregate of the card's life.",
        ("severity", "scope"),
        lambda one: one.gpu.ecc_errors.items(),
    ),
)
