# SPDX-License-Identifier: Apache-2.0
"""`llmagent plan` on a host with a running agent: its cards, neighbours and earlier starts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agent.cli.main import main
from agent.core.gpu.reading import Gpu, GpuMemory, GpuProcess
from agent.core.state.card import Card
from agent.core.view.gpus import GpusView, GpuView
from agent.core.view.snapshot import ProvenView, ServiceView, Snapshot, to_json

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
GIB = 2**30


def a_card(index: int, *processes: GpuProcess, gives: str = "") -> GpuView:
    """A card of 48 GiB with these processes on it, given to one service."""
    used = sum(process.used_bytes or 0 for process in processes)
    memory = GpuMemory(48 * GIB, used, 48 * GIB - used)
    gpu = Gpu(index, f"GPU-{index}", memory=memory, processes=processes)
    return GpuView(gpu, Card(f"GPU-{index}"), (gives,) if gives else ())


def the_status(
    place: Path, *cards: GpuView, proven: Mapping[str, Any] | None = None, **settings: Any
) -> str:
    """status.json as a running agent writes it."""
    view = None if proven is None else ProvenView(settings, **proven)
    service = ServiceView("vllm", "vllm.service", "serving", 0.0, "", proven=view)
    shown = Snapshot(0.0, "0.1.0", services=(service,), gpus=GpusView(1.0, gpus=cards))
    file = place / "status.json"
    file.write_text(json.dumps(to_json(shown)))
    return str(file)


def plan(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, Any]:
    main(["plan", *argv, "--format", "json"])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


@pytest.fixture
def config(tmp_path: Path) -> str:
    file = tmp_path / "agent.toml"
    file.write_text(f'[service.vllm]\nmodel = "{LLAMA}"\nmax_model_len = 8192\n')
    return str(file)


STRANGER = GpuProcess(7, "python3", 20 * GIB, "jupyter.service")
OWN = GpuProcess(8, "VLLM::EngineCore", 40 * GIB, "vllm.service")


def test_what_a_neighbour_holds_is_not_free(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status = the_status(tmp_path, a_card(0, STRANGER))
    beside = plan(capsys, LLAMA, "--max-model-len", "8192", "--status", status)
    assert beside["verdict"] == "tight"
    assert "27.55 GiB are free before the start" in beside["reason"]
    assert beside["notes"] == [
        "others hold 20.45 GiB of the card now; --free-gib 48.0 plans without them"
    ]


def test_the_services_own_engine_is_no_neighbour_of_its_plan(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, config: str
) -> None:
    status = the_status(tmp_path, a_card(0, OWN))
    own = plan(capsys, "vllm", "--config", config, "--status", status)
    assert own["verdict"] == "fits"
    assert own["notes"] == []
    other = plan(capsys, LLAMA, "--max-model-len", "8192", "--status", status)
    assert other["verdict"] != "fits"


def test_a_model_is_planned_for_the_freest_card_and_a_service_for_its_own(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, config: str
) -> None:
    cards = (a_card(0, STRANGER, gives="vllm"), a_card(1))
    status = the_status(tmp_path, *cards)
    assert plan(capsys, LLAMA, "--max-model-len", "8192", "--status", status)["verdict"] == "fits"
    assert plan(capsys, "vllm", "--config", config, "--status", status)["verdict"] == "tight"


def test_what_is_said_on_the_command_line_counts_more_than_what_is_seen(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    status = the_status(tmp_path, a_card(0, STRANGER))
    told = plan(capsys, LLAMA, "--max-model-len", "8k", "--free-gib", "48", "--status", status)
    assert (told["verdict"], told["notes"]) == ("fits", [])


def test_other_settings_of_a_service_that_served_are_corrected_by_its_start(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, config: str
) -> None:
    """What the plan of the start was off is carried over: 2 GiB less than planned, here."""
    plain = the_status(tmp_path, a_card(0))
    asked = ("vllm", "--config", config, "--status")
    unproven = plan(capsys, *asked, plain)
    more = plan(capsys, *asked, plain, "--max-num-seqs", "8")
    printed = {
        "weights_gib": unproven["weights_gib"],
        "available_kv_gib": unproven["available_kv_gib"] - 2,
        "cuda_graph_gib": None,
    }
    served = the_status(tmp_path, a_card(0), proven=printed, max_model_len=8192)
    found = plan(capsys, *asked, served, "--max-num-seqs", "8")
    assert found["available_kv_gib"] == pytest.approx(more["available_kv_gib"] - 2, abs=0.01)
    assert found["error_gib"] < more["error_gib"]
    (row,) = [term for term in found["terms"] if term["name"] == "correction"]
    assert row["gib"] == pytest.approx(2, abs=0.01)


def test_the_start_that_served_may_have_been_of_settings_that_are_changed_since(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, config: str
) -> None:
    plain = the_status(tmp_path, a_card(0))
    asked = ("vllm", "--config", config, "--status")
    then = plan(capsys, *asked, plain, "--gpu-memory-utilization", "0.5")
    printed = {
        "weights_gib": then["weights_gib"],
        "available_kv_gib": then["available_kv_gib"],
        "cuda_graph_gib": None,
    }
    served = the_status(tmp_path, a_card(0), proven=printed, gpu_memory_utilization=0.5)
    found = plan(capsys, *asked, served, "--max-num-seqs", "8")
    (row,) = [term for term in found["terms"] if term["name"] == "correction"]
    assert row["gib"] == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize(
    ("compiled_graphs", "words"),
    [("from the cache", ", from its compile cache"), ("compiled", " while it compiled"), ("", "")],
)
def test_the_plan_of_a_service_says_whether_its_start_compiled(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    config: str,
    compiled_graphs: str,
    words: str,
) -> None:
    printed = {
        "weights_gib": 15.0,
        "available_kv_gib": 4.0,
        "at_seconds": 86400.0,
        "compiled_graphs": compiled_graphs,
    }
    served = the_status(tmp_path, a_card(0), proven=printed, max_model_len=8192)
    found = plan(capsys, "vllm", "--config", config, "--status", served)
    assert f"measured here on 1970-01-02{words}" in found["reason"]
