# SPDX-License-Identifier: Apache-2.0
"""The dashboard is one that Grafana takes, and shows what the exporter has.

tests/container/test_exporter_with_prometheus.py asks a real Prometheus each of its queries.
"""

from __future__ import annotations

import re
from itertools import combinations

import pytest

from tests.given.full_output import selected_nothing, selectors
from tests.project import dashboard

VARIABLE = {"type": "prometheus", "uid": "${datasource}"}


def test_it_is_of_a_schema_that_current_grafana_reads() -> None:
    found = dashboard.read()
    assert found["schemaVersion"] >= 36
    assert found["uid"] == "llmagent"
    assert found["templating"]["list"][0]["type"] == "datasource"


def test_every_panel_and_query_asks_the_data_source_that_is_chosen() -> None:
    for panel in dashboard.panels():
        assert panel["datasource"] == VARIABLE, panel["title"]
        assert panel["targets"], panel["title"]
        assert all(target["datasource"] == VARIABLE for target in panel["targets"])


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    every = dashboard.read()["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    for one, other in combinations((panel["gridPos"] for panel in every), 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in every)


def test_every_panel_says_what_it_shows_in_a_sentence_of_its_own() -> None:
    told = [panel["description"] for panel in dashboard.panels()]
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


@pytest.mark.parametrize(("where", "query"), list(dashboard.queries()))
def test_every_query_asks_for_series_that_the_exporter_has(where: str, query: str) -> None:
    assert list(selectors(query)), where
    assert selected_nothing(query) == []
    assert "$" not in query


def test_every_variable_that_is_used_is_one_of_the_dashboard() -> None:
    found = dashboard.read()
    names = {variable["name"] for variable in found["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", dashboard.FILE.read_text()))
    assert used == names
    for variable in found["templating"]["list"][1:]:
        assert selected_nothing(dashboard.filled_in(variable["definition"])) == []


def test_every_label_in_a_legend_is_one_of_the_series() -> None:
    known = {"instance", "service", "phase", "class", "gpu", "owner", "xid", "severity", "cause"}
    known |= {"reason", "level", "path", "version", "stage"}
    for panel in dashboard.panels():
        for target in panel["targets"]:
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= known
