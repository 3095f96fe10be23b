# SPDX-License-Identifier: Apache-2.0
"""What NVML says of each GPU as metric families; what a card does not give has no sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import Metric

from agent.core.gpu.reading import ClockEvents, Gpu
from agent.core.view.gpus import REASONS, GpuView
from agent.daemon.metrics.families import GPU_LABELS, Value, card_key, counter, gauge

Reading = tuple[str, str, Callable[[Gpu], float | None]]
"""A metric with one value a card: its name, its help, where the value is."""

Several = Callable[[GpuView], Iterator[tuple[str, float]]]
"""The values of one card, each with the value of one more label."""


EVERYWHERE_SUPPORTED = ClockEvents(0x1FF)
"""What every card from Turing to Blackwell says that it supports (nvidia-smi -q captures)."""


def reading_families(cards: tuple[GpuView, ...]) -> Iterator[Metric]:
    """Yield every family of what was just read from these cards."""
    yield from _single(cards)
    yield from _several(cards)


def _single(cards: tuple[GpuView, ...]) -> Iterator[Metric]:
    labelled = [({"gpu": str(one.gpu.index), "uuid": one.gpu.uuid}, one.gpu) for one in cards]
    for kind, suffix, rows in (("gauge", "", GAUGES), ("counter", "_total", COUNTERS)):
        for name, text, value_of in rows:
            family = Metric(name, text, kind)
            for labels, gpu in labelled:
                value = value_of(gpu)
                if value is not None:
                    family.add_sample(name + suffix, labels, float(value))
            yield family


def _several(cards: tuple[GpuView, ...]) -> Iterator[Metric]:
    for name, text, label, values_of in SEVERAL_GAUGES:
        yield gauge(name, text, (*GPU_LABELS, label), _values(cards, values_of))
    for name, text, label, values_of in SEVERAL_COUNTERS:
        yield counter(name, text, (*GPU_LABELS, label), _values(cards, values_of))


def _values(cards: tuple[GpuView, ...], values_of: Several) -> Iterator[Value]:
    for one in cards:
        index, uuid = card_key(one)
        for label, value in values_of(one):
            yield (index, uuid, label), value


def _power(view: GpuView) -> Iterator[tuple[str, float]]:
    for window, watts in (
        ("average", view.gpu.power_watts),
        ("instant", view.gpu.power_instant_watts),
    ):
        if watts is not None:
            yield window, watts


def _limits(view: GpuView) -> Iterator[tuple[str, float]]:
    limits = view.gpu.power_limits
    for kind, watts in (
        ("requested", limits.requested_watts),
        ("enforced", limits.enforced_watts),
        ("default", limits.default_watts),
        ("min", limits.min_watts),
        ("max", limits.max_watts),
    ):
        if watts is not None:
            yield kind, watts


def _memory(view: GpuView) -> Iterator[tuple[str, float]]:
    memory = view.gpu.memory
    if memory is None:
        return
    yield "total", memory.total_bytes
    yield "used", memory.used_bytes
    yield "free", memory.free_bytes
    if memory.reserved_bytes is not None:
        yield "reserved", memory.reserved_bytes


def _events(view: GpuView) -> Iterator[tuple[str, float]]:
    """Yield the reasons that the card can give, and any other that it gives."""
    active = view.gpu.clock_events
    if active is None:
        return
    possible = active | (view.gpu.clock_events_supported or EVERYWHERE_SUPPORTED)
    for name, bit in REASONS:
        if possible & bit:
            yield name, bool(active & bit)


SEVERAL_GAUGES: tuple[tuple[str, str, str, Several], ...] = (
    (
        "llmagent_gpu_temperature_threshold_celsius",
        "Where a GPU slows down or shuts down, on cards that tell it as a temperature.",
        "threshold",
        lambda one: iter(one.gpu.thresholds_celsius.items()),
    ),
    (
        "llmagent_gpu_thermal_margin_threshold_celsius",
        "The same as a thermal margin, on cards that tell it so.",
        "threshold",
        lambda one: iter(one.gpu.margin_thresholds_celsius.items()),
    ),
    ("llmagent_gpu_power_watts", "Power draw; average is over one second.", "window", _power),
    (
        "llmagent_gpu_power_limit_watts",
        "Power limits: enforced is the lowest of all that limit the card.",
        "kind",
        _limits,
    ),
    (
        "llmagent_gpu_clock_hertz",
        "Present clocks.",
        "domain",
        lambda one: iter(one.gpu.clocks_hertz.items()),
    ),
    (
        "llmagent_gpu_clock_max_hertz",
        "The highest that clocks can be.",
        "domain",
        lambda one: iter(one.gpu.clocks_max_hertz.items()),
    ),
    (
        "llmagent_gpu_clock_event_active",
        "Whether a reason keeps the clocks from being higher, by NVML's name.",
        "reason",
        _events,
    ),
    ("llmagent_gpu_memory_bytes", "Memory; reserved is the driver's own share.", "state", _memory),
    (
        "llmagent_gpu_remapped_rows",
        "Memory rows that were replaced, by the kind of error.",
        "cause",
        lambda one: iter(one.gpu.remapped_rows.items()),
    ),
    (
        "llmagent_gpu_retired_pages",
        "Memory pages that were taken out of use, by the kind of error.",
        "cause",
        lambda one: iter(one.gpu.retired_pages.items()),
    ),
)

SEVERAL_COUNTERS: tuple[tuple[str, str, str, Several], ...] = (
    (
        "llmagent_gpu_clock_event_seconds",
        "Time for which a reason kept the clocks down, since the driver was loaded.",
        "reason",
        lambda one: iter(one.gpu.clock_event_seconds.items()),
    ),
)


GAUGES: tuple[Reading, ...] = (
    (
        "llmagent_gpu_reset_required",
        "Whether a GPU must be reset before it can be used.",
        lambda gpu: gpu.reset_required,
    ),
    (
        "llmagent_gpu_recovery_action",
        "What the driver asks for: 0 none, 1 GPU reset, 2 reboot, 3 drain, 4 drain and reset.",
        lambda gpu: gpu.recovery_action,
    ),
    (
        "llmagent_gpu_temperature_celsius",
        "Temperature of the GPU.",
        lambda gpu: gpu.temperature_celsius,
    ),
    (
        "llmagent_gpu_memory_temperature_celsius",
        "Temperature of the memory.",
        lambda gpu: gpu.memory_temperature_celsius,
    ),
    (
        "llmagent_gpu_thermal_margin_celsius",
        "Degrees left until a GPU slows down.",
        lambda gpu: gpu.margin_celsius,
    ),
    (
        "llmagent_gpu_utilization_ratio",
        "Share of time in which the GPU had work.",
        lambda gpu: gpu.utilization_ratio,
    ),
    (
        "llmagent_gpu_memory_utilization_ratio",
        "Share of time in which the memory was read or written.",
        lambda gpu: gpu.memory_utilization_ratio,
    ),
    (
        "llmagent_gpu_memory_unified",
        "Whether a GPU has no memory of its own and its memory is the host's.",
        lambda gpu: gpu.memory_unified,
    ),
    ("llmagent_gpu_ecc_enabled", "Whether ECC is on.", lambda gpu: gpu.ecc_enabled),
    (
        "llmagent_gpu_retired_pages_pending",
        "Whether memory pages are to be taken out of use at the next reset.",
        lambda gpu: gpu.retired_pages_pending,
    ),
    (
        "llmagent_gpu_row_remap_pending",
        "Whether memory rows are to be replaced at the next reset.",
        lambda gpu: gpu.row_remap_pending,
    ),
    (
        "llmagent_gpu_row_remap_failed",
        "Whether a memory row could not be replaced: the card is to be exchanged.",
        lambda gpu: gpu.row_remap_failed,
    ),
    (
        "llmagent_gpu_pcie_link_generation",
        "PCIe generation of the link.",
        lambda gpu: gpu.pcie_generation,
    ),
    (
        "llmagent_gpu_pcie_link_generation_max",
        "The highest PCIe generation.",
        lambda gpu: gpu.pcie_generation_max,
    ),
    ("llmagent_gpu_pcie_link_width", "PCIe lanes of the link.", lambda gpu: gpu.pcie_width),
    ("llmagent_gpu_pcie_link_width_max", "The most PCIe lanes.", lambda gpu: gpu.pcie_width_max),
    (
        "llmagent_gpu_fan_speed_ratio",
        "Fan speed as a share of the highest; some cards go above 1.",
        lambda gpu: gpu.fan_ratio,
    ),
    ("llmagent_gpu_pstate", "Performance state, 0 the highest.", lambda gpu: gpu.performance_state),
    (
        "llmagent_gpu_persistence_mode",
        "Whether the driver stays loaded when nobody uses the GPU.",
        lambda gpu: gpu.persistence_mode,
    ),
    ("llmagent_gpu_mig_mode", "Whether the GPU is divided (MIG).", lambda gpu: gpu.mig_mode),
)

COUNTERS: tuple[Reading, ...] = (
    (
        "llmagent_gpu_energy_joules",
        "Energy since the driver was loaded.",
        lambda gpu: gpu.energy_joules,
    ),
    (
        "llmagent_gpu_pcie_replays",
        "PCIe packets that had to be sent again.",
        lambda gpu: gpu.pcie_replays,
    ),
)
