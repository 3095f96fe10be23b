# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from agent.daemon.exporter.exposition import render
from agent.daemon.metrics.collector import SnapshotCollector
from agent.daemon.metrics.families import counter, gauge, info
from tests.given.full_output import FULL


class Given(Collector):
    """Families as they are."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = tuple(families)

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def same(registry: CollectorRegistry) -> None:
    """Asserts that both formats are what prometheus_client makes of them."""
    assert render(registry.collect(), openmetrics=False) == generate_latest(registry)
    openmetrics = generate_openmetrics(registry)  # type: ignore[no-untyped-call]
    assert render(registry.collect(), openmetrics=True) == openmetrics


def test_a_scrape_is_byte_for_byte_what_prometheus_client_makes_of_it() -> None:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(lambda: FULL))
    same(registry)


def test_so_are_the_metrics_of_the_process() -> None:
    process = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=process)
    seen = tuple(process.collect())
    assert "process_open_fds" in {family.name for family in seen}
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Given(seen))
    same(registry)


@pytest.mark.parametrize("make", [gauge, counter])
@given(
    text=st.text(max_size=20),
    label=st.text(max_size=20),
    value=st.floats() | st.integers(-(10**12), 10**12).map(float),
)
def test_no_text_and_no_number_breaks_the_format(
    make: object, text: str, label: str, value: float
) -> None:
    assert callable(make)
    registry = CollectorRegistry(auto_describe=False)
    family = make("x", text, ("b", "a"), [((label, "1"), value), (("2", label), value)])
    registry.register(Given([family, info("y", text, [{"name": label}])]))
    same(registry)
