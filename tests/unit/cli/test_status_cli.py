# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.cli.main import main
from agent.cli.status import render
from agent.core.failures.classes import FailureClass
from agent.core.gpu.reading import ClockEvents, Driver, Gpus
from agent.core.state.card import Ailment, Cap, Card, Cure, LeverState
from agent.core.view.gpus import GpusView, view_of_gpus
from agent.core.view.snapshot import to_json
from tests.given.some_gpus import CARD, DRIVER, GB10, GIVEN, H200, many_gpus, some_gpus
from tests.given.some_snapshot import SNAPSHOT


def document(view: GpusView | None) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(to_json(replace(SNAPSHOT, gpus=view))))
    return plain


def shown(view: GpusView | None, width: int = 1000) -> list[str]:
    """Returns the lines that are about driver and cards."""
    lines = render(document(view), colour=False, width=width).splitlines()
    begins = [n for n, line in enumerate(lines) if line.startswith(("driver", "GPU"))]
    return lines[begins[0] :] if begins else []


def test_a_card_is_one_line_that_tells_what_matters() -> None:
    lines = shown(some_gpus())
    assert lines[0] == "driver  580.95  CUDA 13.0"
    assert lines[1] == (
        "GPU 0  NVIDIA H200  61 °C (26 left)  512/600 W  1500/1980 MHz  97% busy  "
        "120.0/141.0 GiB  vllm 118.0 GiB  user@1000 2.0 GiB"
    )
    assert lines[2] == "       slowed down: sw_thermal_slowdown"
    assert lines[-1] == "GPU 1  NVIDIA GB10  38 °C  30.0/128.0 GiB of the host"


def test_a_power_limit_that_holds_the_clocks_down_is_no_remark() -> None:
    capped = replace(H200, clock_events=ClockEvents.SW_POWER_CAP | ClockEvents.GPU_IDLE)
    assert not any("slowed" in line for line in shown(some_gpus(capped)))


def test_a_lost_card_says_so_and_shows_no_number() -> None:
    lost = shown(some_gpus(replace(H200, lost=True), GB10))
    assert lost[1] == "GPU 0  NVIDIA H200  lost: NVML cannot reach it"


def test_what_a_person_must_do_is_said() -> None:
    ailment = Ailment(
        FailureClass.UNKNOWN, Cure.RESET, 1000.0, "GPU 0 must be reset", "nvidia-smi -r -i 0"
    )
    cap = Cap(LeverState.BLOCKED, "not permitted")
    cards = {H200.uuid: replace(CARD, ailment=ailment, cap=cap)}
    view = view_of_gpus(Gpus(1049.0, (H200,), DRIVER), cards, GIVEN, stale=False, ahead_seconds=0.0)
    text = "\n".join(shown(view))
    assert "GPU 0 must be reset" in text
    assert "to do: nvidia-smi -r -i 0" in text
    assert "power limit blocked: not permitted" in text


def test_a_driver_that_is_not_there_or_does_not_match_is_said() -> None:
    gone = Driver(problem="NVML is not installed")
    view = view_of_gpus(
        Gpus(1049.0, (), gone), {"GPU-aa": CARD}, {}, stale=False, ahead_seconds=0.0
    )
    assert shown(view)[:2] == ["driver  none", "       NVML is not installed"]
    assert shown(view)[2] == "GPU 0  NVIDIA H200  not known"
    newer = Driver(library_version="590.1", module_version="580.95")
    assert "the next start of vLLM fails" in shown(some_gpus(driver=newer))[1]


def test_cards_that_nobody_has_known_by_name_are_counted() -> None:
    seen = Gpus(1049.0, (H200,), DRIVER, nameless=(1, 2))
    view = view_of_gpus(seen, {}, GIVEN, stale=False, ahead_seconds=0.0)
    assert shown(view)[-1].startswith("       2 more GPUs are counted by NVML")


def test_stale_numbers_are_not_shown() -> None:
    lines = shown(some_gpus(stale=True))
    assert lines[1] == "       NVML has not answered for 1 s"
    assert "GPU 0  NVIDIA H200  not known" in lines


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_line_about_gpus_is_wider_than_the_terminal(width: int) -> None:
    assert max(len(line) for line in shown(some_gpus(), width)) <= width


def test_a_host_without_gpus_has_no_line_about_them() -> None:
    assert shown(None) == []


def test_one_service_is_shown_with_its_own_cards(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "status.json"
    now = {**document(some_gpus()), "at_seconds": time.time()}
    file.write_text(json.dumps(now))
    arguments = ["status", "--file", str(file), "--format", "json"]
    assert main([*arguments, "embed"]) == 0
    assert [gpu["index"] for gpu in json.loads(capsys.readouterr().out)["gpus"]] == [1]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out) == now


def test_eight_cards_are_eight_lines_and_a_few() -> None:
    begins = [line[:5] for line in shown(many_gpus(8)) if line.startswith("GPU")]
    assert begins == [f"GPU {index}" for index in range(8)]


def test_an_old_xid_is_history_and_a_new_one_is_shown() -> None:
    assert any(line.strip().startswith("Xid 13: 4 in all") for line in shown(some_gpus()))
    later = {**document(some_gpus()), "at_seconds": 1000.0 + 2 * 86400}
    assert "Xid" not in render(later, colour=False)


def test_a_card_that_is_only_remembered_has_its_name() -> None:
    cards = {"GPU-zz": Card("GPU-zz", 3, "X")}
    view = view_of_gpus(Gpus(1049.0, (), DRIVER), cards, {}, stale=False, ahead_seconds=0.0)
    assert shown(view)[1] == "GPU 3  X  lost: NVML cannot reach it"


def test_what_runs_in_place_of_what_was_asked_is_said_with_since_and_why() -> None:
    lines = render(document(None), colour=False).splitlines()
    learned = next(line for line in lines if line.startswith("  learned"))
    assert "gpu_memory_utilization: asked 0.95, running 0.86 since " in learned
    assert learned.endswith(", because 20.7 of 24.0 GiB were free")
    back = next(line for line in lines if line.startswith("  rolled back since "))
    assert back.endswith("because new settings fail for good; changed were model a -> b")
