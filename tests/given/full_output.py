# SPDX-License-Identifier: Apache-2.0
"""The exporter's output of a host that has everything, and what PromQL selects from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families as parse

from agent.core.doctor.finding import fail
from agent.core.engine.metrics import Counters
from agent.core.view.cluster import CauseView, ClusterView, PeerView
from agent.core.view.snapshot import (
    FailureView,
    Snapshot,
)
from agent.core.view.wishes import AskedView, NotifyView
from agent.daemon.metrics.collector import SnapshotCollector
from tests.given.some_gpus import GB10, H200, RTX4090, some_gpus
from tests.given.some_host import HOST
from tests.given.some_snapshot import HELD, SERVING, SNAPSHOT

BUSY = replace(
    SERVING,
    failure=FailureView("start-stalled", (), "start again", 990.0),
    planned_restart=AskedView("at 03:00", "root", 2000.0),
    api=Counters(
        running=3,
        waiting=1,
        prompt_tokens=1e6,
        generation_tokens=5e5,
        requests_success=900.0,
        preemptions=2.0,
        first_tokens=880.0,
        first_token_seconds=310.5,
        kv_cache_usage=0.97,
        prefix_cache_queries=1e6,
        prefix_cache_hits=4e5,
    ),
    cluster=ClusterView(
        member=0,
        head=True,
        headless=False,
        hosts=2,
        generation=3,
        stance="serving",
        cause=CauseView("gpu-b", "worker-died", "worker-died: a worker ended", 900.0),
        peers=(
            PeerView(
                "http://10.0.0.2:9836",
                host="gpu-b",
                member=1,
                generation=3,
                stance="serving",
                reason="serving: the head, gpu-a, answers requests",
                seen_seconds=999.0,
                answers=True,
            ),
        ),
    ),
)
HUNG = replace(HELD, failure=FailureView("engine-hung", (), "start again", 1005.0))
FULL: Snapshot = replace(
    SNAPSHOT,
    services=(BUSY, HUNG),
    gpus=some_gpus(H200, GB10, RTX4090),
    host=HOST,
    notify=NotifyView(1, 900.0, "1 ntfy could not be reached", 0, ""),
    findings=(fail("port", "8000 is taken", "Stop it.", "vllm"),),
)
_SELECTOR = re.compile(r"\b(llmagent_[a-z0-9_]+)\b\s*(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
_VARIABLE = re.compile(r"\$\{?\w+\}?")


def text_of(snapshot: Snapshot) -> bytes:
    """Returns what a scrape of this snapshot gets."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(lambda: snapshot))
    return generate_latest(registry)


def series_of(snapshot: Snapshot) -> list[tuple[str, dict[str, str]]]:
    """Returns name and labels of every series."""
    return [
        (sample.name, sample.labels)
        for family in parse(text_of(snapshot).decode())  # type: ignore[no-untyped-call]
        for sample in family.samples
    ]


def selectors(expression: str) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Yields each selector of our metrics with its matchers; those with variables are left out."""
    for name, matchers in _SELECTOR.findall(expression):
        found = [m for m in _MATCHER.findall(matchers) if not _VARIABLE.search(m[2])]
        yield name, found


def selects(matchers: list[tuple[str, str, str]], labels: dict[str, str]) -> bool:
    """Tells whether a series with these labels is selected; job and instance are Prometheus's."""
    for label, operator, wanted in matchers:
        if label in ("job", "instance"):
            continue
        value = labels.get(label, "")
        is_equal = value == wanted if "~" not in operator else bool(re.fullmatch(wanted, value))
        if is_equal is operator.startswith("!"):
            return False
    return True


@cache
def _full() -> list[tuple[str, dict[str, str]]]:
    return series_of(FULL)


def selected_nothing(expression: str) -> list[str]:
    """Returns the selectors of an expression to which the exporter gives no series."""
    every = _full()
    return [
        f"{name}{matchers}"
        for name, matchers in selectors(expression)
        if not any(found == name and selects(matchers, labels) for found, labels in every)
    ]
