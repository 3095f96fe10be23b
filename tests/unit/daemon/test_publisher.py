# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from agent.core.gpu.reading import Driver, Gpu, Gpus
from agent.core.state.host import HostState
from agent.core.state.policy import HostPolicy
from agent.core.view.snapshot import Snapshot
from agent.daemon.log import log
from agent.daemon.publisher import GPUS_STALE_SECONDS, Publisher
from agent.daemon.sources.thread import SILENT_SECONDS, SourceHealth
from tests.given.some_gpus import CARDS, DRIVER, GB10, H200

NOTHING = HostPolicy({}, {})


def published(state: HostState, now: float, file: Path) -> Snapshot:
    publisher = Publisher(file, lambda: now)
    publisher.publish(state, NOTHING, ())
    return publisher.snapshot()


def test_a_host_that_never_had_a_gpu_shows_none(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    assert published(HostState(), 1000.0, file).gpus is None
    assert "gpus" not in json.loads(file.read_text())


def test_a_status_that_cannot_be_written_is_told_once_and_shown_to_who_asks_over_http(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = tmp_path / "status.new"
    beside.mkdir()  # as a full or lost /run: nothing can be written there
    caplog.set_level("INFO", logger="llmagent")
    monkeypatch.setattr(log, "propagate", True)
    clock = [1000.0]
    publisher = Publisher(tmp_path / "status.json", lambda: clock[0])
    for _ in range(3):
        clock[0] += 10.0
        publisher.publish(HostState(), NOTHING, ())
    (said,) = caplog.messages
    assert said.endswith("status.json cannot be written: Is a directory")
    (source,) = publisher.snapshot().sources
    assert (source.name, source.up) == ("status.json", False)
    assert "cannot be written" in source.detail
    beside.rmdir()
    clock[0] += 10.0
    publisher.publish(HostState(), NOTHING, ())
    assert caplog.messages[1:] == [f"{tmp_path / 'status.json'} is written again"]
    assert publisher.snapshot().sources == ()


def test_gpus_are_shown_with_what_is_remembered_of_them(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    state = HostState(gpus=Gpus(1000.0, (H200, GB10), DRIVER), cards=CARDS)
    view = published(state, 1001.0, file).gpus
    assert view is not None
    assert view.nvml_up
    first, second = json.loads(file.read_text())["gpus"]
    assert first["name"] == "NVIDIA H200"
    assert first["clock_events"] == ["sw_power_cap", "sw_thermal_slowdown"]
    assert first["ecc_errors"] == {
        "corrected": {"volatile": 3},
        "uncorrected": {"volatile": 0, "aggregate": 0},
    }
    assert first["power_limit"]["target_watts"] == 600
    assert first["xids"]["13"]["count"] == 4
    assert second["power_watts"] is None
    assert json.loads(file.read_text())["driver"]["mismatch"] is False


def test_a_limit_that_has_changed_is_in_the_file_at_once_and_mere_numbers_follow(
    tmp_path: Path,
) -> None:
    file = tmp_path / "status.json"
    publisher = Publisher(file, lambda: 1000.0)

    def shown(gpu: Gpu) -> tuple[float, float]:
        publisher.publish(HostState(gpus=Gpus(1000.0, (gpu,), DRIVER)), NOTHING, ())
        (card,) = json.loads(file.read_text())["gpus"]
        return card["power_limits"]["enforced_watts"], card["temperature_celsius"]

    lower = replace(H200.power_limits, enforced_watts=250.0)
    before = shown(H200)
    assert shown(replace(H200, temperature_celsius=99.0)) == before
    assert shown(replace(H200, temperature_celsius=99.0, power_limits=lower)) == (250.0, 99.0)


def test_numbers_of_a_sampler_that_hangs_become_stale(tmp_path: Path) -> None:
    state = HostState(gpus=Gpus(1000.0, (H200,), DRIVER))
    for now, stale in ((1000.0 + GPUS_STALE_SECONDS, False), (1001.0 + GPUS_STALE_SECONDS, True)):
        view = published(state, now, tmp_path / "status.json").gpus
        assert view is not None
        assert (view.stale, view.nvml_up) == (stale, not stale)


def test_without_a_driver_nothing_is_known_of_known_cards(tmp_path: Path) -> None:
    state = HostState(gpus=Gpus(1000.0, (), Driver(problem="no driver")), cards=CARDS)
    view = published(state, 1000.0, tmp_path / "status.json").gpus
    assert view is not None
    assert not view.nvml_up
    assert [(one.gpu.name, one.gpu.lost) for one in view.gpus] == [
        ("NVIDIA H200", False),
        ("NVIDIA GB10", False),
    ]


def test_a_source_that_does_not_come_back_is_down(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path / "status.json", lambda: 1000.0 + SILENT_SECONDS + 1)
    for name, last, may_be in (
        ("disk", 1000.0, SILENT_SECONDS),
        ("units", 1100.0, SILENT_SECONDS),
        ("store", 1000.0, math.inf),
    ):
        publisher.watch_health(SourceHealth(name, True, last, "", may_be))
    disk, units, store = publisher.snapshot().sources
    assert (disk.up, disk.detail) == (False, "has not come back for 181 s")
    assert units.up
    assert store.up
