# SPDX-License-Identifier: Apache-2.0
"""The dashboards are such that Grafana takes, and show what the exporter has.

tests/container/test_exporter_with_prometheus.py asks a real Prometheus each of their queries.
"""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import pytest

from tests.given.full_output import selected_nothing, selectors
from tests.project import dashboard

VARIABLE = {"type": "prometheus", "uid": "${datasource}"}


each_dashboard = pytest.mark.parametrize(
    "file", [dashboard.FILE, dashboard.FLEET], ids=lambda file: file.stem
)


@each_dashboard
def test_it_is_of_a_schema_that_current_grafana_reads(file: Path) -> None:
    found = dashboard.read(file)
    assert found["schemaVersion"] >= 36
    assert found["uid"] == file.stem
    assert found["templating"]["list"][0]["type"] == "datasource"


@each_dashboard
def test_every_panel_and_query_asks_the_data_source_that_is_chosen(file: Path) -> None:
    for panel in dashboard.panels(file):
        assert panel["datasource"] == VARIABLE, panel["title"]
        assert panel["targets"], panel["title"]
        assert all(target["datasource"] == VARIABLE for target in panel["targets"])


@each_dashboard
def test_panels_have_numbers_of_their_own_and_do_not_overlap(file: Path) -> None:
    every = dashboard.read(file)["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    for one, other in combinations((panel["gridPos"] for panel in every), 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in every)


@each_dashboard
def test_every_panel_says_what_it_shows_in_a_sentence_of_its_own(file: Path) -> None:
    told = [panel["description"] for panel in dashboard.panels(file)]
    assert [text for text in told if len(text.split()) < 5 or not text.endswith(".")] == []
    assert len(set(told)) == len(told)


def test_latency_and_queue_stand_over_what_causes_them() -> None:
    places = {panel["title"]: panel["gridPos"] for panel in dashboard.panels()}
    for effect in ("Time to first token, beside the causes", "Requests waiting, beside the causes"):
        for cause in ("Power", "Temperature", "SM clock", "Time with lower clocks"):
            assert 0 < places[cause]["y"] - places[effect]["y"] <= 16


def test_there_is_a_row_for_each_subject() -> None:
    rows = [panel["title"] for panel in dashboard.read()["panels"] if panel["type"] == "row"]
    assert rows == ["Service", "Verification", "GPUs", "Power and heat", "Host"]


def test_the_fleet_begins_with_what_needs_a_person_and_leads_to_each_host() -> None:
    rows = [
        panel["title"]
        for panel in dashboard.read(dashboard.FLEET)["panels"]
        if panel["type"] == "row"
    ]
    assert rows == ["Now", "Hosts over time", "Groups"]
    assert f"/d/{dashboard.FILE.stem}?var-instance=" in dashboard.FLEET.read_text()
    assert "instance" in {v["name"] for v in dashboard.read()["templating"]["list"]}


@pytest.mark.parametrize(
    ("where", "query"), [*dashboard.queries(), *dashboard.queries(dashboard.FLEET)]
)
def test_every_query_asks_for_series_that_the_exporter_has(where: str, query: str) -> None:
    # What Prometheus itself knows of a host that does not answer is the one other series.
    assert list(selectors(query)) or "up{job=" in query, where
    assert selected_nothing(query) == []
    assert "$" not in query


@each_dashboard
def test_every_variable_that_is_used_is_one_of_the_dashboard(file: Path) -> None:
    found = dashboard.read(file)
    names = {variable["name"] for variable in found["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", file.read_text()))
    assert used == names
    for variable in found["templating"]["list"][1:]:
        assert selected_nothing(dashboard.filled_in(variable["definition"])) == []


@each_dashboard
def test_every_label_in_a_legend_is_one_of_the_series(file: Path) -> None:
    known = {"instance", "service", "phase", "class", "gpu", "owner", "xid", "severity", "cause"}
    known |= {"reason", "level", "path", "version", "stage"}
    for panel in dashboard.panels(file):
        for target in panel["targets"]:
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= known
