# SPDX-License-Identifier: Apache-2.0
"""Metric families made from label values and numbers."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import Metric

from agent.core.view.gpus import GpuView

Value = tuple[tuple[str, ...], float]
"""Label values, then the value."""

GPU_LABELS = ("gpu", "uuid")
"""What every series of a card has: NVML's index, and the name that the card keeps for ever."""


def card_key(view: GpuView) -> tuple[str, str]:
    """Return the values of GPU_LABELS."""
    return str(view.gpu.index), view.gpu.uuid


def gauge(name: str, text: str, labels: tuple[str, ...], values: Iterable[Value]) -> Metric:
    """Return a gauge with these values; none is no mistake."""
    family = Metric(name, text, "gauge")
    for label_values, value in values:
        family.add_sample(name, dict(zip(labels, label_values, strict=True)), float(value))
    return family


def counter(name: str, text: str, labels: tuple[str, ...], values: Iterable[Value]) -> Metric:
    """Return a counter; `name` is without the "_total" that its samples have."""
    family = Metric(name, text, "counter")
    for label_values, value in values:
        given = dict(zip(labels, label_values, strict=True))
        family.add_sample(f"{name}_total", given, float(value))
    return family


def info(name: str, text: str, values: Iterable[dict[str, str]]) -> Metric:
    """Return texts as labels of ones; `name` is without the "_info" that its samples have."""
    family = Metric(name, text, "info")
    for labels in values:
        family.add_sample(f"{name}_info", labels, 1.0)
    return family
