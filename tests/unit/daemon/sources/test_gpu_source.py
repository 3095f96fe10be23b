# SPDX-License-Identifier: Apache-2.0
"""The source of GPU readings: what it emits, and that a stuck driver stops nobody else."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from agent.core.gpu.reading import ClockEvents, Gpu, Gpus
from agent.core.gpu.xid_lines import pci_key
from agent.core.state.observations import GpusSeen, Observation, XidSeen
from agent.daemon.sources.deadline_worker import DeadlineWorker
from agent.daemon.sources.gpus import LOG_SECONDS, GpuSource, NvmlHungError, Patience, rest_after
from agent.host.nvidia.calls import Doing, NvmlError
from agent.host.nvidia.driver_files import DriverFiles, DriverPlaces
from agent.host.nvidia.events import XidEvent
from agent.host.nvidia.nvml import NvmlLook
from tests.rig.nvml.driver import DriverFiles as SimulatedDriver

QUICK = Patience(look_seconds=0.1, open_seconds=0.1)
IDLE = Gpu(0, "GPU-a", "card", pci_bus_id="00000000:01:00.0", utilization_ratio=0.0)


@dataclass
class ScriptedNvml:
    """An NVML that answers, fails or hangs as a test says."""

    doing: Doing = field(default_factory=Doing)
    gpus: tuple[Gpu, ...] = (IDLE,)
    xids: tuple[XidEvent, ...] = ()
    broken: str = ""
    hang: threading.Event | None = None
    opened: int = 0
    asked: list[tuple[bool, bool, bool]] = field(default_factory=list)

    def open(self, library: Path | None = None) -> None:  # noqa: ARG002
        self.opened += 1
        if self.broken:
            raise NvmlError(self.broken)

    def look(self, *, medium: bool, slow: bool, processes: bool) -> NvmlLook:
        self.asked.append((medium, slow, processes))
        if self.broken:
            raise NvmlError(self.broken)
        if self.hang is not None:
            self.doing.call = "nvmlDeviceGetPowerUsage of GPU 0"
            self.hang.wait()
        xids, self.xids = self.xids, ()
        return NvmlLook(self.gpus, (), "13.2", xids)


class Host:
    """A host with a driver's files, and what the source emitted."""

    def __init__(self, root: Path) -> None:
        (root / "library").write_text("")
        self.driver = SimulatedDriver(root, root / "library")
        self.nvml = ScriptedNvml()
        self.seen: list[Gpus] = []
        places = DriverPlaces(
            (self.driver.module_version,),
            root / "cache",
            (self.driver.libraries,),
            root / "maps",
            (sys.executable, "-c", ""),
        )
        self.now = 100.0
        self.xids: list[XidSeen] = []
        files = DriverFiles(places)
        self.source = GpuSource(self.nvml, files, self._emit, lambda: self.now, QUICK)

    def _emit(self, observation: Observation) -> None:
        if isinstance(observation, XidSeen):
            self.xids.append(observation)
            return
        assert isinstance(observation, GpusSeen)
        self.seen.append(observation.gpus)

    def install(self, version: str = "595.71.05") -> None:
        self.driver.install_library(version)
        self.driver.load_module(version)

    def look(self) -> None:
        """Looks now."""
        self.source.wake()
        self.source.look()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    if made.nvml.hang is not None:
        made.nvml.hang.set()
    made.source.close()


def test_a_look_gives_the_cards_and_the_driver(host: Host) -> None:
    host.install()
    host.look()
    (seen,) = host.seen
    assert (seen.at, seen.gpus) == (100.0, (IDLE,))
    assert (seen.driver.module_version, seen.driver.cuda_version) == ("595.71.05", "13.2")
    assert not seen.driver.problem


def test_an_xid_of_nvml_waits_for_the_kernel_logs_line_and_is_told_with_its_meaning(
    host: Host,
) -> None:
    host.install()
    host.nvml.xids = (XidEvent(IDLE.uuid, 79),)
    host.look()
    assert host.xids == []
    host.now += LOG_SECONDS
    host.look()
    host.look()
    (seen,) = host.xids
    assert (seen.code, seen.at, seen.logged_at, seen.from_nvml) == (79, 102.0, 100.0, True)
    assert seen.pci_bus_id == pci_key(IDLE.pci_bus_id)
    assert seen.meaning == "the GPU does not answer on the bus"


def test_a_host_without_a_driver_is_said_to_have_none_and_is_no_failure(host: Host) -> None:
    host.look()
    host.look()
    (seen,) = host.seen
    assert seen == Gpus(0.0, driver=seen.driver)
    assert seen.driver.problem == "there is no NVIDIA driver on this host"
    assert not seen.driver.present
    assert host.nvml.opened == 0, "nothing is loaded for it"
    host.install()
    host.source._files_at = 0.0
    host.look()
    assert host.seen[-1].gpus == (IDLE,)


def test_a_driver_that_fails_is_told_once_and_tried_again(host: Host) -> None:
    host.install()
    host.nvml.broken = "nvmlInit: Unknown Error"
    for _ in range(3):
        with pytest.raises(NvmlError, match="Unknown Error"):
            host.look()
    assert [seen.driver.problem for seen in host.seen] == ["nvmlInit: Unknown Error"]
    host.nvml.broken = ""
    host.look()
    assert host.seen[-1].driver.problem == ""


def test_a_driver_that_ends_keeps_the_cards_with_their_time(host: Host) -> None:
    host.install()
    host.look()
    host.nvml.broken = "nvmlDeviceGetCount: Uninitialized"
    with pytest.raises(NvmlError):
        host.look()
    last = host.seen[-1]
    assert (last.at, last.gpus) == (100.0, (IDLE,))
    assert last.driver.problem == "nvmlDeviceGetCount: Uninitialized"
    host.nvml.broken = ""
    host.look()
    assert host.nvml.opened == 2


def test_the_first_look_reads_everything_and_the_next_only_the_fast_ring(host: Host) -> None:
    host.install()
    host.source.look()
    host.source._due.look = 0.0
    host.source.look()
    host.source.watch_processes(wanted=True)
    host.look()
    assert host.nvml.asked == [(True, True, False), (False, False, False), (True, False, True)]


WORKS = Gpu(0, "GPU-a", temperature_celsius=60.0, utilization_ratio=0.9)
SLOWED = replace(WORKS, clock_events=ClockEvents.HW_THERMAL_SLOWDOWN)


@pytest.mark.parametrize(
    ("before", "now", "pause"),
    [
        (replace(WORKS, utilization_ratio=0.0), replace(WORKS, utilization_ratio=0.0), 5.0),
        (WORKS, replace(WORKS, temperature_celsius=61.0), 2.0),
        (WORKS, replace(WORKS, temperature_celsius=64.0), 1.0),
        (WORKS, SLOWED, 1.0),
        (WORKS, replace(WORKS, uuid="GPU-another"), 1.0),
    ],
)
def test_a_card_that_heats_up_or_is_slowed_down_is_looked_at_more_often(
    before: Gpu, now: Gpu, pause: float
) -> None:
    assert rest_after((now,), (before,)) == pause


def test_a_lost_card_has_nvml_begin_anew_within_the_slow_ring(host: Host) -> None:
    host.install()
    host.nvml.gpus = (Gpu(0, "GPU-a", lost=True),)
    host.look()
    host.look()
    assert host.nvml.opened == 1
    host.source._due.slow = 0.0
    host.look()
    assert host.nvml.opened == 2


def test_a_call_that_hangs_is_left_alone_and_named(host: Host) -> None:
    host.install()
    host.look()
    host.nvml.hang = threading.Event()
    before = threading.active_count()
    for _ in range(4):
        with pytest.raises(NvmlHungError, match="hangs in nvmlDeviceGetPowerUsage of GPU 0"):
            host.look()
    assert threading.active_count() == before, "no thread was added"
    assert len(host.nvml.asked) == 2, "nobody else is sent into the same call"
    assert [bool(seen.driver.problem) for seen in host.seen] == [False, True]

    host.nvml.hang.set()
    host.nvml.hang = None
    _until(lambda: not host.source._worker.busy)
    host.look()
    assert host.nvml.opened == 2
    assert host.seen[-1].driver.problem == ""


def test_an_upgrade_is_seen_while_nvml_hangs(host: Host) -> None:
    host.install("580.65.06")
    host.look()
    host.nvml.hang = threading.Event()
    with pytest.raises(NvmlHungError):
        host.look()
    host.driver.install_library("595.71.05")
    host.source._files_at = 0.0
    with pytest.raises(NvmlHungError):
        host.look()
    assert host.seen[-1].driver.mismatch


def _until(done: object) -> None:
    assert callable(done)
    waiting = threading.Event()
    for _ in range(500):
        if done():
            return
        waiting.wait(0.01)
    raise AssertionError("it did not come back")


def test_the_worker_raises_what_the_call_raises_and_goes_on() -> None:
    worker: DeadlineWorker[int] = DeadlineWorker("test")
    with pytest.raises(ZeroDivisionError):
        worker.do(lambda: 1 // 0, 5)
    assert worker.do(lambda: 7, 5) == 7
    worker.close()
