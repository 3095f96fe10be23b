# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

from agent.core.view.snapshot import Snapshot, to_json
from tests.given.some_snapshot import SNAPSHOT


def test_status_json_is_plain_json_with_services_by_name() -> None:
    document = json.loads(json.dumps(to_json(SNAPSHOT)))
    assert document["format"] == 1
    assert set(document["services"]) == {"vllm", "embed"}
    assert document["services"]["vllm"]["running"]["gpu_memory_utilization"] == 0.86
    assert document["services"]["vllm"]["verification"][1]["verdict"] == "contradicted"
    assert document["services"]["vllm"]["api"]["running"] == 3


def test_a_failure_names_its_class_as_diagnose_does() -> None:
    failure = to_json(SNAPSHOT)["services"]["embed"]["failure"]
    assert failure["class"] == "gated-repo"
    assert "failure_class" not in failure


def test_a_host_without_services_has_an_empty_object() -> None:
    assert to_json(Snapshot(1.0, "0.1.0"))["services"] == {}
