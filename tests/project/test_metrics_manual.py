# SPDX-License-Identifier: Apache-2.0
"""The manual of the metrics is what the exporter does."""

from __future__ import annotations

import re
from typing import Final

from agent.daemon.metrics.collector import SnapshotCollector
from tests.given.full_output import FULL
from tests.rig.paths import REPO

MANUAL: Final = REPO / "packaging/man/llmagent-metrics.7"
SUFFIX: Final = {"counter": "_total", "info": "_info"}


def test_the_manual_has_each_metric_with_its_type_its_labels_and_its_help() -> None:
    entry = r"(?m)^\.It Li (\w+) Pq (\w+)(?:: (.+))?\n(.+)$"
    told = {
        name: (kind, frozenset(labels.split(", ")) - {""}, text)
        for name, kind, labels, text in re.findall(entry, MANUAL.read_text())
    }
    real = {
        family.name + SUFFIX.get(family.type, ""): (
            family.type,
            frozenset(label for sample in family.samples for label in sample.labels),
            family.documentation,
        )
        for family in SnapshotCollector(lambda: FULL).collect()
    }
    assert told == real


def test_every_family_of_a_host_that_has_everything_has_a_series() -> None:
    """Otherwise what the other tests of rules and dashboard compare with would lack something."""
    every = SnapshotCollector(lambda: FULL).collect()
    assert [family.name for family in every if not family.samples] == []
