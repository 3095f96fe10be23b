# SPDX-License-Identifier: Apache-2.0
"""A metric is one row: its kind, name, help, labels, and where its values are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Generic, Literal, TypeVar

from prometheus_client.core import Metric

from agent.core.record import dataclass
from agent.core.view.gpus import GpuView

T = TypeVar("T")
"""What a table of metrics is about: the snapshot, a service, a card."""

Value = tuple[tuple[str, ...], float]
"""Label values, then the value."""

GPU_LABELS = ("gpu", "uuid")
"""What every series of a card has: NVML's index, and the name that the card keeps for ever."""

_ENDING: Final = {"gauge": "", "counter": "_total"}


@dataclass(frozen=True, slots=True)
class Row(Generic[T]):
    """One metric of a subject."""

    kind: Literal["gauge", "counter"]
    name: str
    """Without the "_total" that a counter's samples have."""

    text: str
    labels: tuple[str, ...]
    """Those that come after the subject's own."""

    values_of: Callable[[T], Iterable[Value]]
    """The subject's values, each with those of `labels`; none has no sample."""


def gauge(name: str, text: str, value_of: Callable[[T], float | None]) -> Row[T]:
    """Return a gauge with one value a subject, or none."""
    return Row("gauge", name, text, (), _alone(value_of))


def counter(name: str, text: str, value_of: Callable[[T], float | None]) -> Row[T]:
    """Return a counter with one value a subject, or none."""
    return Row("counter", name, text, (), _alone(value_of))


def gauges(
    name: str, text: str, labels: tuple[str, ...], values_of: Callable[[T], Iterable[Value]]
) -> Row[T]:
    """Return a gauge with several values a subject, told apart by `labels`."""
    return Row("gauge", name, text, labels, values_of)


def counters(
    name: str, text: str, labels: tuple[str, ...], values_of: Callable[[T], Iterable[Value]]
) -> Row[T]:
    """Return a counter with several values a subject, told apart by `labels`."""
    return Row("counter", name, text, labels, values_of)


def families(
    rows: Iterable[Row[T]],
    subjects: Iterable[tuple[tuple[str, ...], T]],
    labels: tuple[str, ...] = (),
) -> Iterator[Metric]:
    """Yield the metric of each row, in this order, also where it has no value.

    A subject comes with its values of `labels`.
    """
    given = [(dict(zip(labels, key, strict=True)), one) for key, one in subjects]
    for row in rows:
        family = Metric(row.name, row.text, row.kind)
        sample = row.name + _ENDING[row.kind]
        for own, one in given:
            for key, value in row.values_of(one):
                every = own | dict(zip(row.labels, key, strict=True)) if key else own
                family.add_sample(sample, every, float(value))
        yield family


def info(name: str, text: str, values: Iterable[dict[str, str]]) -> Metric:
    """Return texts as labels of ones; `name` is without the "_info" that its samples have."""
    family = Metric(name, text, "info")
    for labels in values:
        family.add_sample(f"{name}_info", labels, 1.0)
    return family


def card_key(view: GpuView) -> tuple[str, str]:
    """Return the values of GPU_LABELS."""
    return str(view.gpu.index), view.gpu.uuid


def each(values: Iterable[tuple[str, float]]) -> Iterator[Value]:
    """Yield values with the value of one label each."""
    for label, value in values:
        yield (label,), value


def _alone(value_of: Callable[[T], float | None]) -> Callable[[T], Iterable[Value]]:
    def values_of(one: T) -> Iterable[Value]:
        value = value_of(one)
        return () if value is None else (((), value),)

    return values_of
