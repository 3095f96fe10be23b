# SPDX-License-Identifier: Apache-2.0
"""Measurements of a live service: what was measured, and how it compares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

from agent.core.record import dataclass
from agent.core.settings.profile import Band, Origin, Quantity

NOISE = 0.1
"""Two runs of one service differ by this much without a cause; less is no finding."""

KNEE = 0.05
"""A step that gains less than this share of throughput is past the knee."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of the service: `batch` requests at once, tokens in and out of each."""

    batch: int
    input_tokens: int
    output_tokens: int
    requests: int


@dataclass(frozen=True, slots=True)
class Point:
    """What came of one load. Rates in tokens a second of all requests, times in seconds."""

    load: Load
    completed: int
    failed: int
    seconds: float
    output_tokens_per_second: float
    ttft_median_seconds: float | None
    ttft_p99_seconds: float | None
    itl_median_seconds: float | None

    @property
    def worked(self) -> bool:
        """Whether it may be compared at all."""
        return self.completed > 0 and self.failed == 0


class Standing(StrEnum):
    """How a value stands to what is expected."""

    WITHIN = "within"
    BETTER = "better"
    WORSE = "worse"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One measured value beside a band; `against` says whose."""

    quantity: Quantity
    batch: int
    context_tokens: int
    value: float
    low: float
    high: float
    against: str
    standing: Standing


def from_vllm_json(load: Load, document: Mapping[str, Any]) -> Point:
    """Read the result file of `vllm bench serve` (0.8..0.32); raises KeyError when it is none."""
    completed = int(document["completed"])
    return Point(
        load=load,
        completed=completed,
        failed=int(document.get("failed", max(0, load.requests - completed))),
        seconds=float(document["duration"]),
        output_tokens_per_second=float(document["output_throughput"]),
        ttft_median_seconds=_seconds(document, "median_ttft_ms"),
        ttft_p99_seconds=_seconds(document, "p99_ttft_ms"),
        itl_median_seconds=_seconds(document, "median_itl_ms"),
    )


def _seconds(document: Mapping[str, Any], key: str) -> float | None:
    value = document.get(key)
    return None if value is None else float(value) / 1000


def compare(
    points: Sequence[Point], bands: Iterable[Band], baseline: Sequence[Point]
) -> tuple[Comparison, ...]:
    """Return each value beside the profile's bands and beside this host's own baseline.

    A published band whose two ends are one figure is a claim, no band, and is not compared.
    """
    found = []
    for point in points:
        if not point.worked:
            continue
        for quantity, value in _values(point):
            found += [
                _compared(point, quantity, value, band)
                for band in bands
                if band.quantity is quantity and band.low < band.high and _is_for(band, point)
            ]
            before = next((p for p in baseline if p.load == point.load and p.worked), None)
            if before is not None:
                old = dict(_values(before)).get(quantity)
                if old is not None:
                    span = (old * (1 - NOISE), old * (1 + NOISE))
                    band = Band(quantity, *span, Origin.MEASURED, point.load.batch)
                    found.append(_compared(point, quantity, value, band))
    return tuple(found)


def _values(point: Point) -> list[tuple[Quantity, float]]:
    values = []
    if point.load.output_tokens > 1:
        values.append((Quantity.DECODE, point.output_tokens_per_second))
    if point.ttft_median_seconds is not None:
        values.append((Quantity.TTFT, point.ttft_median_seconds))
    return values


def _is_for(band: Band, point: Point) -> bool:
    if band.quantity is Quantity.TTFT:
        same = 0.8 <= point.load.input_tokens / (band.context_tokens or 1) <= 1.25
        return same and point.load.batch == 1
    return band.batch == point.load.batch


def _compared(point: Point, quantity: Quantity, value: float, band: Band) -> Comparison:
    more_is_better = quantity is Quantity.DECODE
    standing = Standing.WITHIN
    if value < band.low:
        standing = Standing.WORSE if more_is_better else Standing.BETTER
    elif value > band.high:
        standing = Standing.BETTER if more_is_better else Standing.WORSE
    return Comparison(
        quantity=quantity,
        batch=point.load.batch,
        context_tokens=point.load.input_tokens,
        value=value,
        low=band.low,
        high=band.high,
        against="this host's baseline" if band.origin is Origin.MEASURED else f"{band.origin} band",
        standing=standing,
    )


def knee(points: Sequence[tuple[int, float]]) -> int | None:
    """Return the smallest setting after which throughput gains less than 5 % a step.

    `points` are (setting, tokens a second) in rising order of the setting; None without any.
    """
    if not points:
        return None
    best = points[0]
    for setting, rate in points[1:]:
        if rate < best[1] * (1 + KNEE):
            return best[0]
        best = (setting, rate)
    return best[0]
