# SPDX-License-Identifier: Apache-2.0
"""The NVML adapter, with the real pynvml on the simulated library."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.core.gpu.reading import ClockEvents, Gpu, PowerLimits
from agent.host.nvidia.calls import Code, NvmlError, real
from agent.host.nvidia.events import XidEvent
from agent.host.nvidia.nvml import NvmlLook
from tests.given.nvml_reader import Reader
from tests.rig.nvml.control import xid
from tests.rig.nvml.state_file import StateFile, machine, uuid_of
from tests.rig.nvsim import Call, HostGpus
from tests.rig.paths import REPO

MIB: Final = 1 << 20


@pytest.fixture
def reader(gpus: HostGpus) -> Iterator[Reader]:
    reading = Reader(gpus)
    yield reading
    reading.end()


def only(look: NvmlLook) -> Gpu:
    (gpu,) = look.gpus
    return gpu


def refused(gpus: HostGpus) -> list[Call]:
    """Returns the calls that brought nothing; that no event waits is an answer."""
    return [call for call in gpus.calls() if call.code not in (0, Code.TIMEOUT)]


def test_an_rtx_4090_gives_degrees_left_and_no_memory_temperature(
    gpus: HostGpus, reader: Reader
) -> None:
    gpus.state.create("rtx4090")
    reader.open()
    look = reader.look()
    gpu = only(look)
    assert (gpu.name, gpu.uuid, gpu.pci_bus_id) == (
        "NVIDIA GeForce RTX 4090",
        uuid_of(0),
        "00000000:01:00.0",
    )
    assert (gpu.temperature_celsius, gpu.margin_celsius) == (41.0, 42.0)
    assert gpu.memory_temperature_celsius is None
    assert gpu.thresholds_celsius == {}
    assert gpu.margin_thresholds_celsius == {
        "shutdown": -7.0,
        "slowdown": -2.0,
        "max_operating": 0.0,
    }
    assert gpu.power_limits == PowerLimits(450.0, 450.0, 450.0, 150.0, 600.0)
    assert (gpu.power_watts, gpu.power_instant_watts) == (21.0, 21.4)
    assert gpu.energy_joules == 8123456.789
    assert gpu.clocks_hertz == {"sm": 210e6, "memory": 405e6, "video": 1185e6}
    assert gpu.clock_events == ClockEvents.GPU_IDLE
    assert gpu.clock_events_supported == ClockEvents(0x1FF)
    assert gpu.memory is not None
    assert gpu.memory.total_bytes == 24564 * MIB
    assert gpu.memory.reserved_bytes == 354 * MIB
    assert (gpu.ecc_enabled, gpu.ecc_errors) == (False, {})
    assert (gpu.fan_ratio, gpu.performance_state, gpu.persistence_mode) == (0.0, 8, False)
    assert (gpu.pcie_generation, gpu.pcie_generation_max, gpu.pcie_width_max) == (1, 4, 16)
    assert (gpu.compute_capability, gpu.mig_mode, gpu.processes) == ("8.9", None, ())
    assert (gpu.problem, gpu.memory_unified, look.cuda_version) == ("", False, "13.2")


def test_an_h200_gives_what_a_data_centre_card_has(gpus: HostGpus, reader: Reader) -> None:
    gpus.state.create("h200")
    reader.open()
    gpu = only(reader.look())
    assert gpu.memory_temperature_celsius == 41.0
    assert gpu.ecc_errors == {
        (severity, scope): 0
        for severity in ("corrected", "uncorrected")
        for scope in ("volatile", "aggregate")
    }
    assert (gpu.remapped_rows, gpu.row_remap_failed) == ({"corrected": 0, "uncorrected": 0}, False)
    assert (gpu.mig_mode, gpu.fan_ratio, gpu.serial) == (False, None, "1654923012345")
    assert set(gpu.clock_event_seconds) == {
        *("sw_power_cap", "thermal_policy", "sync_boost", "board_limit", "reliability"),
        *("sw_thermal", "hw_thermal", "hw_power_brake"),
    }


def test_a_gb10_shows_the_hosts_memory_and_says_so(gpus: HostGpus, reader: Reader) -> None:
    gpus.state.create("gb10")
    reader.open()
    gpu = only(reader.look())
    assert gpu.memory_unified
    assert gpu.memory is not None
    assert gpu.memory.total_bytes == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert gpu.power_limits == PowerLimits()
    assert (gpu.power_watts, gpu.fan_ratio, gpu.ecc_enabled) == (4.2, None, None)
    assert "memory" not in gpu.clocks_hertz
    assert gpu.clock_event_seconds["sw_thermal"] == pytest.approx(0.903158)


@pytest.mark.parametrize(
    ("card", "gib", "unified"),
    [("gb10", 119, True), ("gb10", 60, False), ("h200", 140, False), ("h200", 119, False)],
)
def test_memory_as_big_as_the_hosts_is_the_hosts_on_a_card_without_a_memory_clock(
    gpus: HostGpus, tmp_path: Path, card: str, gib: int, unified: bool
) -> None:
    (tmp_path / "meminfo").write_text(
        f"MemTotal: {120 << 20} kB\nMemFree: 1 kB\nMemAvailable: {30 << 20} kB\n"
    )
    gpus.state.create(card)
    gpus.set(0, memory_total=gib << 30, memory_used=0)
    reader = Reader(gpus, tmp_path)
    reader.open()
    gpu = only(reader.look())
    reader.end()
    assert gpu.memory_unified is unified
    assert gpu.memory is not None
    assert gpu.memory.total_bytes == (120 if unified else gib) << 30
    assert gpu.memory.free_bytes == (30 << 30 if unified else gpu.memory.free_bytes)


def test_a_card_with_absolute_thresholds_gives_them(gpus: HostGpus, reader: Reader) -> None:
    gpus.state.create("rtx4000ada")
    gpus.set(0, threshold_shutdown=101, threshold_slowdown=96, threshold_gpu_max=90)
    reader.open()
    gpu = only(reader.look())
    assert gpu.thresholds_celsius == {"shutdown": 101.0, "slowdown": 96.0, "max_operating": 90.0}
    assert (gpu.margin_celsius, gpu.margin_thresholds_celsius) == (None, {})


@pytest.mark.parametrize(
    ("version", "counted"),
    [("570.172.08", False), ("575.51.03", True), ("580.65.06", True), ("580.82.07", True)],
)
def test_the_thermal_times_are_read_by_the_ids_of_the_driver(
    gpus: HostGpus, reader: Reader, version: str, counted: bool
) -> None:
    gpus.state.create("h200")
    gpus.set(None, driver_version=version)
    gpus.set(0, time_sw_thermal_ns=3 * 10**9, field_251=1, field_269=1)
    reader.open()
    seconds = only(reader.look()).clock_event_seconds
    assert seconds.get("sw_thermal") == (3.0 if counted else None)
    assert "thermal_policy" in seconds


def test_what_a_card_lacks_is_asked_for_once(gpus: HostGpus, reader: Reader) -> None:
    gpus.state.create("gb10", "rtx4090", "rtx4000ada")
    reader.open()
    reader.look()
    gpus.forget_calls()
    for _ in range(3):
        reader.look()
    assert refused(gpus) == []
    gpus.forget_calls()
    reader.open()
    reader.look()
    assert gpus.counts(0)["nvmlDeviceGetFanSpeed"] == 1, "asked again after a new beginning"


def test_each_ring_makes_its_own_few_calls(gpus: HostGpus, reader: Reader) -> None:
    gpus.state.create("h200")
    reader.open()
    reader.look()
    counts: list[int] = []
    for medium, slow in ((False, False), (True, False), (True, True)):
        gpus.forget_calls()
        reader.look(medium=medium, slow=slow)
        counts.append(len(gpus.calls()))
    assert counts == [7, 12, 22]


def test_an_old_driver_is_read_by_the_old_calls(gpus: HostGpus, reader: Reader) -> None:
    gpus.state.create("rtx4090")
    newer = (
        *("nvmlDeviceGetTemperatureV", "nvmlDeviceGetMarginTemperature"),
        *("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetMemoryInfo_v2"),
        "nvmlDeviceGetSupportedClocksEventReasons",
        "nvmlDeviceGetComputeRunningProcesses_v3",
    )
    missing = dict.fromkeys(newer, "!FUNCTION_NOT_FOUND")
    gpus.set(None, driver_version="525.125.06", highest_field=150, **missing)
    reader.open()
    gpu = only(reader.look())
    assert (gpu.temperature_celsius, gpu.power_watts) == (41.0, 21.0)
    assert gpu.power_limits == PowerLimits(450.0, 450.0, 450.0, 150.0, 600.0)
    assert (gpu.clock_events, gpu.clock_events_supported) == (
        ClockEvents.GPU_IDLE,
        ClockEvents(0x1FF),
    )
    assert gpu.memory is not None
    assert gpu.memory.used_bytes == 355 * MIB
    assert gpu.memory.reserved_bytes is None
    assert (gpu.energy_joules, gpu.pcie_replays) == (8123456.789, 0)
    assert gpu.processes is None
    gpus.forget_calls()
    reader.look()
    assert refused(gpus) == []


def test_a_lost_card_keeps_its_name_and_the_others_their_readings(
    gpus: HostGpus, reader: Reader
) -> None:
    gpus.state.create("rtx4090", "rtx4090")
    reader.open()
    reader.look()
    gpus.set(0, lost=1)
    gpus.set(1, temperature=77)
    gpus.forget_calls()
    first, second = reader.look().gpus
    assert (first.lost, first.uuid, first.name) == (True, uuid_of(0), "NVIDIA GeForce RTX 4090")
    assert first.problem == "GPU 0 has fallen off the bus"
    assert (second.lost, second.temperature_celsius) == (False, 77.0)
    assert gpus.counts(0).total() == 1
    gpus.set(0, lost=None)
    assert not reader.look().gpus[0].lost


def test_a_card_lost_over_a_new_beginning_is_still_known(gpus: HostGpus, reader: Reader) -> None:
    gpus.state.create("rtx4090", "rtx4090")
    reader.open()
    reader.look()
    gpus.set(0, lost=1)
    reader.open()
    look = reader.look()
    assert [(gpu.uuid, gpu.lost) for gpu in look.gpus] == [(uuid_of(0), True), (uuid_of(1), False)]
    assert look.nameless == ()


def test_a_card_that_was_lost_before_it_was_ever_seen_is_told_by_its_index(
    gpus: HostGpus, reader: Reader
) -> None:
    gpus.state.create("rtx4090", "rtx4090")
    gpus.set(1, lost=1)
    reader.open()
    look = reader.look()
    assert [gpu.uuid for gpu in look.gpus] == [uuid_of(0)]
    assert look.nameless == (1,)


def test_a_card_that_needs_a_reset_says_so(gpus: HostGpus, reader: Reader) -> None:
    gpus.state.create("h200")
    reader.open()
    reader.look()
    gpus.set(0, reset_required=1)
    gpu = only(reader.look())
    assert (gpu.reset_required, gpu.lost) == (True, False)
    gpus.set(0, reset_required=None)
    assert not only(reader.look()).reset_required
    gpus.set(0, recovery_action=1)
    gpu = only(reader.look())
    assert (gpu.reset_required, gpu.recovery_action) == (True, 1)


def test_another_number_of_cards_is_noticed_within_the_slow_ring(
    gpus: HostGpus, reader: Reader
) -> None:
    gpus.state.create("rtx4090", "h200")
    reader.open()
    reader.look()
    gpus.state.take_out(0)
    gpu = only(reader.look())
    assert (gpu.uuid, gpu.index, gpu.lost) == (uuid_of(1), 0, False)


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ({}, "the NVIDIA kernel module is not loaded"),
        ({"init": "!LIB_RM_VERSION_MISMATCH"}, "reboot the host"),
        ({"init": "!UNKNOWN"}, "nvmlInit: Unknown Error"),
        ({"nvmlDeviceGetCount_v2": "!UNKNOWN"}, "nvmlDeviceGetCount: Unknown Error"),
    ],
)
def test_why_nvml_does_not_work_is_one_sentence(
    gpus: HostGpus, reader: Reader, state: dict[str, str], sentence: str
) -> None:
    if state:
        gpus.state.create("rtx4090")
        gpus.set(None, **state)
    with pytest.raises(NvmlError, match=sentence):
        reader.open()


def test_without_the_library_the_adapter_says_what_to_install(tmp_path: Path) -> None:
    class Nowhere(HostGpus):
        @property
        def environment(self) -> dict[str, str]:
            return {**super().environment, "LD_LIBRARY_PATH": ""}

    reader = Reader(Nowhere(tmp_path))
    try:
        with pytest.raises(NvmlError, match="install the NVIDIA driver's NVML library"):
            reader.open()
    finally:
        reader.end()


def test_a_driver_that_went_away_ends_the_look(gpus: HostGpus, reader: Reader) -> None:
    gpus.state.create("rtx4090")
    reader.open()
    reader.look()
    gpus.state.remove()
    for slow in (False, True):
        with pytest.raises(NvmlError, match=r"Driver Not Loaded|module is not loaded"):
            reader.look(slow=slow)
    with pytest.raises(NvmlError, match="module is not loaded"):
        reader.open()
    gpus.state.create("rtx4090")
    reader.open()
    assert only(reader.look()).temperature_celsius == 41.0


def test_unknown_errors_on_every_card_end_the_look_and_on_one_do_not(
    gpus: HostGpus, reader: Reader
) -> None:
    gpus.state.create("rtx4090", "rtx4090")
    reader.open()
    reader.look()
    gpus.set(0, temperature="!UNKNOWN")
    first, second = reader.look().gpus
    assert first.problem == "nvmlDeviceGetTemperature: Unknown Error"
    assert (first.temperature_celsius, second.temperature_celsius) == (None, 41.0)
    names = ("nvmlDeviceGetTemperatureV", "nvmlDeviceGetTemperature")
    gpus.set(None, **dict.fromkeys(names, "!UNKNOWN"))
    with pytest.raises(NvmlError, match="no GPU answers: nvmlDeviceGetTemperature"):
        reader.look()


def test_processes_have_their_short_name_and_their_unit(gpus: HostGpus, tmp_path: Path) -> None:
    for pid, name, cgroup in (
        (17, "VLLM::EngineCore", "0::/system.slice/vllm.service\n"),
        (18, "python3", "12:pids:/x.service\n1:name=systemd:/user.slice/session-3.scope\n"),
    ):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "comm").write_text(name + "\n")
        (tmp_path / str(pid) / "cgroup").write_text(cgroup)
    gpus.state.create("rtx4090")
    gpus.set(0, processes=f"17:{MIB} 18 19:{MIB}")
    reader = Reader(gpus, tmp_path)
    reader.open()
    reader.look()
    gpus.forget_calls()
    seen = only(reader.look(medium=False, slow=False, processes=True)).processes
    reader.end()
    assert seen is not None
    assert [(p.pid, p.name, p.used_bytes, p.unit) for p in seen] == [
        (17, "VLLM::EngineCor", MIB, "vllm.service"),
        (18, "python3", None, "session-3.scope"),
        (19, "", MIB, ""),
    ]
    assert gpus.counts(0)["nvmlDeviceGetComputeRunningProcesses_v3"] == 2


ERRORS: Final = ("!UNKNOWN", "!NOT_SUPPORTED", "!NO_PERMISSION", "!TIMEOUT", "!NOT_READY", "!20")
KEYS: Final = sorted(machine("h200")["gpu 0"])
VALUES: Final = st.one_of(
    st.none(),
    st.sampled_from(ERRORS),
    st.integers(-1, 2**64 - 1).map(str),
    st.sampled_from(("", "x", "\udcff\udcfe", "1 2 3")),
)


@pytest.fixture(scope="module")
def long_reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HostGpus, Reader]]:
    gpus = HostGpus(tmp_path_factory.mktemp("gpus"))
    gpus.state.create("h200")
    reading = Reader(gpus)
    yield gpus, reading
    reading.end()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changes=st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=30))
def test_whatever_a_card_says_a_look_gives_the_other_one(
    long_reader: tuple[HostGpus, Reader], changes: dict[str, str | None]
) -> None:
    gpus, reader = long_reader
    gpus.state.create("h200", "rtx4090")
    sections = machine("h200", "rtx4090")
    for key, value in changes.items():
        if value is None:
            sections["gpu 0"].pop(key)
        else:
            sections["gpu 0"][key] = value
    _write_raw(gpus.state, sections)
    reader.open()
    other = reader.look().gpus[-1]
    assert (other.uuid, other.temperature_celsius) == (uuid_of(1), 41.0)


def _write_raw(state: StateFile, sections: dict[str, dict[str, str]]) -> None:
    """Writes bytes that are no UTF-8 too."""
    lines: list[str] = []
    for name, section in sections.items():
        lines += [f"[{name}]", *(f"{key} = {value}" for key, value in section.items())]
    fresh = state.path.with_suffix(".raw")
    fresh.write_bytes("\n".join(lines).encode(errors="surrogateescape") + b"\n")
    fresh.replace(state.path)


def test_each_xid_after_the_beginning_is_told_once_and_a_card_without_such_events_costs_nothing(
    gpus: HostGpus, reader: Reader
) -> None:
    gpus.state.create("gb10", "rtx4090")
    xid(gpus.state, 1, 13)
    reader.open()
    assert reader.look().xids == ()
    xid(gpus.state, 0, 31)
    xid(gpus.state, 1, 79)
    assert reader.look().xids == (XidEvent(uuid_of(1), 79),)
    assert reader.look().xids == ()


def test_the_xid_that_takes_a_card_away_is_told_although_the_card_is_gone(
    gpus: HostGpus, reader: Reader
) -> None:
    gpus.state.create("rtx4090", "rtx4090")
    reader.open()
    reader.look()
    xid(gpus.state, 1, 79)
    gpus.set(1, lost=1)
    look = reader.look()
    assert [gpu.lost for gpu in look.gpus] == [False, True]
    assert look.xids == (XidEvent(uuid_of(1), 79),)


TELL = """
from agent.host.nvidia.calls import NvmlError
from agent.host.nvidia.nvml import Nvml
try:
    Nvml().open()
except NvmlError as error:
    print(error.code, error)
"""


def says_with(library: bytes | None, directory: Path) -> str:
    """Return what the adapter says where the loader finds this library first."""
    directory.mkdir(exist_ok=True)
    if library is not None:
        (directory / "libnvidia-ml.so.1").write_bytes(library)
    environment = os.environ | {"LD_LIBRARY_PATH": str(directory)}
    argv = [sys.executable, "-c", TELL]
    return subprocess.run(
        argv, check=True, capture_output=True, text=True, env=environment, cwd=REPO
    ).stdout.strip()


def test_a_library_that_does_not_load_is_told_with_the_loaders_own_words(
    gpus: HostGpus, tmp_path: Path
) -> None:
    whole = gpus.files.library.read_bytes()
    for library, words in (
        (whole[:40], "file too short"),
        (b"not a library" * 10, "invalid ELF header"),
        (b"", "file too short"),
    ):
        said = says_with(library, tmp_path / "lib")
        assert said.startswith("12 libnvidia-ml.so.1 is there and does not load: "), said
        assert words in said
        assert "not on this host" not in said


def test_a_library_that_is_not_there_is_told_as_missing(tmp_path: Path) -> None:
    assert "libnvidia-ml.so.1 is not on this host" in says_with(None, tmp_path / "lib")


def test_a_number_that_is_none_is_absent() -> None:
    odd: tuple[object, ...] = (float("inf"), float("-inf"), float("nan"), "many", (), None)
    assert {real(value) for value in odd} == {None}
    assert real(41.9) == 41


def test_xids_go_on_to_be_told_after_a_card_was_added(gpus: HostGpus, reader: Reader) -> None:
    gpus.state.create("rtx4090")
    reader.open()
    reader.look()
    gpus.state.create("rtx4090", "rtx4090")
    reader.look(slow=True)
    for card in (0, 1):
        xid(gpus.state, card, 43)
    assert {event.uuid for event in reader.look().xids} == {uuid_of(0), uuid_of(1)}


def test_pynvml_is_loaded_only_by_opening() -> None:
    code = "import sys, agent.daemon.wiring; print('pynvml' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
