# SPDX-License-Identifier: Apache-2.0
"""The simulated NVML behaves as the real one does where the agent depends on it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from tests.rig import paths
from tests.rig.nvml import control, driver, physics
from tests.rig.nvml.state_file import CARDS, StateFile, parse, uuid_of, written
from tests.rig.nvsim import HostGpus

CHILD: Final = """
import json, sys, pynvml
def plain(value):
    if hasattr(value, "_fields_"):
        return {name: getattr(value, name) for name, *_ in value._fields_}
    return value
handles = []
for line in sys.stdin:
    try:
        print(json.dumps(plain(eval(line, {"n": pynvml, "handles": handles}))), flush=True)
    except pynvml.NVMLError as error:
        print(json.dumps({"error": error.value}), flush=True)
"""
FIELD: Final = (
    "[(f.nvmlReturn, f.value.ullVal) for f in n.nvmlDeviceGetFieldValues(handles[{}], {})]"
)


class Program:
    """A program that uses the real pynvml, one expression after the other."""

    def __init__(self, gpus: HostGpus) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=gpus.environment,
        )

    def __call__(self, expression: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def begin(self, count: int = 1) -> None:
        """Initialises NVML and takes the handles of the first cards."""
        assert self("n.nvmlInit()") is None
        for index in range(count):
            self(f"handles.append(n.nvmlDeviceGetHandleByIndex({index}))")

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def programs(gpus: HostGpus) -> Iterator[list[Program]]:
    started: list[Program] = []
    yield started
    for program in started:
        program.close()


@pytest.fixture
def program(gpus: HostGpus, programs: list[Program]) -> Program:
    gpus.state.create("rtx4090", "gb10")
    programs.append(Program(gpus))
    programs[0].begin(2)
    return programs[0]


def test_its_structures_are_those_of_nvidias_header(tmp_path: Path) -> None:
    at = tmp_path / "header"
    argv = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--target", str(at)]
    pip = subprocess.run([*argv, "nvidia-nvml-dev"], check=False, capture_output=True, timeout=120)
    headers = list(at.rglob("nvml.h"))
    if pip.returncode != 0 or not headers or not shutil.which("gcc"):
        pytest.skip("needs gcc and PyPI's nvidia-nvml-dev")
    source = paths.RIG / "nvml/abi_check.c"
    check = ["gcc", "-std=c11", "-fsyntax-only", "-I", str(headers[0].parent), str(source)]
    done = subprocess.run(check, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_card_gives_what_its_profile_has(program: Program) -> None:
    assert program("n.nvmlDeviceGetName(handles[0])") == "NVIDIA GeForce RTX 4090"
    assert program("n.nvmlDeviceGetUUID(handles[1])") == uuid_of(1)
    assert program("n.nvmlDeviceGetPciInfo(handles[1]).busId") == "00000000:02:00.0"
    assert program("n.nvmlDeviceGetTemperatureV(handles[0], 0)") == 41
    assert program("n.nvmlDeviceGetTemperature(handles[0], 0)") == 41
    assert program("n.nvmlDeviceGetPowerManagementLimitConstraints(handles[0])") == [150000, 600000]
    assert program("n.nvmlDeviceGetMemoryInfo(handles[0], n.nvmlMemory_v2).reserved") == 354 << 20
    assert program("n.nvmlDeviceGetCurrentClocksEventReasons(handles[0])") == 1
    assert program("n.nvmlDeviceGetMarginTemperature(handles[0])") == 42
    assert program("n.nvmlSystemGetDriverVersion()") == "595.71.05"


def test_the_old_memory_call_counts_the_reserve_as_used(program: Program) -> None:
    memory = program("n.nvmlDeviceGetMemoryInfo(handles[0])")
    assert memory["used"] == (354 + 1) << 20
    assert memory["used"] + memory["free"] == memory["total"]


def test_what_a_card_lacks_is_not_supported(program: Program) -> None:
    for call in (
        "n.nvmlDeviceGetPowerManagementLimit(handles[1])",
        "n.nvmlDeviceGetMemoryInfo(handles[1])",
        "n.nvmlDeviceGetFanSpeed(handles[1])",
        "n.nvmlDeviceGetEccMode(handles[1])",
        "n.nvmlDeviceGetTemperatureThreshold(handles[0], 0)",
    ):
        assert program(call) == {"error": 3}, call
    assert program(FIELD.format(0, [82, 83])) == [[3, 0], [0, 8123456789]]


def test_a_change_is_seen_by_the_next_call(gpus: HostGpus, program: Program) -> None:
    gpus.set(0, temperature=91, reasons="0x40")
    assert program("n.nvmlDeviceGetTemperatureV(handles[0], 0)") == 91
    assert program("n.nvmlDeviceGetCurrentClocksThrottleReasons(handles[0])") == 0x40
    gpus.set(0, temperature=None)
    assert program("n.nvmlDeviceGetTemperatureV(handles[0], 0)") == {"error": 3}


@pytest.mark.parametrize(
    ("version", "first"),
    [
        ("570.172.08", None),
        ("575.51.03", 251),
        ("580.65.06", 251),
        ("580.82.07", 269),
        ("595.71.05", 269),
    ],
)
def test_the_thermal_times_have_the_ids_of_the_driver(
    gpus: HostGpus, programs: list[Program], version: str, first: int | None
) -> None:
    gpus.state.create("rtx4090")
    gpus.set(None, driver_version=version)
    gpus.set(0, time_sw_thermal_ns=1, time_hw_thermal_ns=2, time_hw_power_brake_ns=3)
    programs.append(Program(gpus))
    programs[0].begin()
    for ids in (251, 269):
        got = programs[0](FIELD.format(0, [ids, ids + 1, ids + 2]))
        assert got == ([[0, 1], [0, 2], [0, 3]] if ids == first else [[3, 0]] * 3)


def test_a_limit_that_is_set_is_written_back(gpus: HostGpus, program: Program) -> None:
    call = "n.nvmlDeviceSetPowerManagementLimit(handles[0], {})"
    assert program(call.format(400_000)) is None
    assert gpus.state.get(0, "power_limit_mw") == "400000"
    assert program("n.nvmlDeviceGetEnforcedPowerLimit(handles[0])") == 400_000
    assert program(call.format(100_000)) == {"error": 2}
    gpus.set(0, power_set_ignored=1)
    assert program(call.format(300_000)) is None
    assert program("n.nvmlDeviceGetPowerManagementLimit(handles[0])") == 400_000


def test_a_lost_card_leaves_the_others_readable(gpus: HostGpus, program: Program) -> None:
    gpus.set(0, lost=1)
    assert program("n.nvmlDeviceGetTemperatureV(handles[0], 0)") == {"error": 15}
    assert program("n.nvmlDeviceGetHandleByIndex(0)") == {"error": 15}
    assert program("n.nvmlDeviceGetCount()") == 2
    assert program("n.nvmlDeviceGetTemperatureV(handles[1], 0)") == 38
    gpus.set(0, lost=None, reset_required=1)
    assert program("n.nvmlDeviceGetTemperatureV(handles[0], 0)") == {"error": 16}


def test_cards_after_one_that_is_gone_get_a_lower_index(gpus: HostGpus, program: Program) -> None:
    gpus.state.take_out(0)
    assert program("n.nvmlDeviceGetCount()") == 1
    assert program("n.nvmlDeviceGetUUID(n.nvmlDeviceGetHandleByIndex(0))") == uuid_of(1)


def test_any_call_can_be_made_to_fail(gpus: HostGpus, program: Program) -> None:
    gpus.set(None, nvmlDeviceGetTemperatureV="!FUNCTION_NOT_FOUND")
    gpus.set(0, power_mw="!UNKNOWN")
    assert program("n.nvmlDeviceGetTemperatureV(handles[1], 0)") == {"error": 13}
    assert program("n.nvmlDeviceGetPowerUsage(handles[0])") == {"error": 999}


def test_a_wedged_call_goes_on_when_the_card_is_released(gpus: HostGpus, program: Program) -> None:
    gpus.set(0, hang=1)
    answers: list[Any] = []
    call = "n.nvmlDeviceGetTemperatureV(handles[0], 0)"
    waiting = threading.Thread(target=lambda: answers.append(program(call)))
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive()
    gpus.set(0, hang=None)
    waiting.join(10)
    assert answers == [41]


def test_an_upgraded_driver_fails_new_processes_and_leaves_old_ones(
    gpus: HostGpus, program: Program, programs: list[Program]
) -> None:
    driver.install(gpus.state, gpus.files)
    driver.upgrade(gpus.state, gpus.files, "600.10.01")
    assert program("n.nvmlDeviceGetTemperatureV(handles[0], 0)") == 41
    programs.append(Program(gpus))
    assert programs[1]("n.nvmlInit()") == {"error": 18}
    assert "595.71.05" in gpus.files.module_version.read_text()
    assert (gpus.files.libraries / driver.LIBRARY).resolve().name == "libnvidia-ml.so.600.10.01"

    driver.reload(gpus.state, gpus.files)
    assert program("n.nvmlDeviceGetTemperatureV(handles[0], 0)") == {"error": 1}
    assert program("n.nvmlInit()") == {"error": 18}, "the old library stays mapped"
    programs.append(Program(gpus))
    assert programs[2]("n.nvmlInit()") is None


def test_without_a_state_no_driver_is_loaded(gpus: HostGpus, programs: list[Program]) -> None:
    programs.append(Program(gpus))
    assert programs[0]("n.nvmlInit()") == {"error": 9}
    gpus.state.create("h200")
    assert programs[0]("n.nvmlInit()") is None
    assert programs[0]("n.nvmlDeviceGetCount()") == 1


def test_an_xid_is_an_event(gpus: HostGpus, program: Program) -> None:
    program("handles.append(n.nvmlEventSetCreate())")
    program("n.nvmlDeviceRegisterEvents(handles[0], 8, handles[2])")
    assert program("n.nvmlDeviceRegisterEvents(handles[1], 8, handles[2])") == {"error": 3}
    assert program("n.nvmlEventSetWait_v2(handles[2], 20)") == {"error": 10}
    line = control.xid(gpus.state, 0, 79)
    assert line.startswith("NVRM: Xid (PCI:0000:01:00): 79, ")
    assert program("n.nvmlEventSetWait_v2(handles[2], 2000).eventData") == 79


def test_processes_are_listed(gpus: HostGpus, program: Program) -> None:
    call = "[vars(p) for p in n.nvmlDeviceGetComputeRunningProcesses(handles[0])]"
    assert program(call) == []
    gpus.set(0, processes="17:1048576 18")
    assert [(p["pid"], p["usedGpuMemory"]) for p in program(call)] == [(17, 1 << 20), (18, None)]


def test_each_call_is_in_the_log(gpus: HostGpus, program: Program) -> None:
    gpus.forget_calls()
    program("n.nvmlDeviceGetFanSpeed(handles[1])")
    (call,) = gpus.calls()
    assert (call.function, call.gpu, call.code) == ("nvmlDeviceGetFanSpeed", 1, 3)
    assert call.pid == program.process.pid


@pytest.mark.parametrize("card", CARDS)
def test_a_profile_is_read_back_as_it_is_written(tmp_path: Path, card: str) -> None:
    state = StateFile(tmp_path / "state")
    state.create(card, card)
    text = state.path.read_text()
    assert written(parse(text)) == text
    assert state.get(0, "uuid") != state.get(1, "uuid")


def test_nvidia_smi_lists_and_queries(gpus: HostGpus) -> None:
    gpus.state.create("rtx4090", "gb10")
    assert gpus.nvidia_smi("-L").stdout.splitlines()[0] == (
        f"GPU 0: NVIDIA GeForce RTX 4090 (UUID: {uuid_of(0)})"
    )
    fields = "--query-gpu=index,power.limit,memory.total,temperature.gpu"
    told = gpus.nvidia_smi(fields, "--format=csv,noheader,nounits").stdout.splitlines()
    assert told == ["0, 450.00, 24564, 41", "1, [N/A], [N/A], 38"]
    told = gpus.nvidia_smi(fields, "--format=csv", "-i", uuid_of(0)).stdout.splitlines()
    assert told == [
        "index, power.limit [W], memory.total [MiB], temperature.gpu",
        "0, 450.00 W, 24564 MiB, 41",
    ]
    assert gpus.nvidia_smi("--query-gpu=nonsense", "--format=csv").returncode == 2
    assert gpus.nvidia_smi("-i", "7", "-L").returncode == 6


def test_nvidia_smi_sets_a_limit_in_its_own_words(gpus: HostGpus) -> None:
    gpus.state.create("rtx4090", "gb10")
    done = gpus.nvidia_smi("-i", uuid_of(0), "-pl", "400")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == (
        "Power limit for GPU 00000000:01:00.0 was set to 400.00 W from 450.00 W."
    )
    refused = gpus.nvidia_smi("-i", "0", "-pl", "50")
    assert refused.returncode == 2
    assert "should be between 150.00 W and 600.00 W for GPU 00000000:01:00.0" in refused.stdout
    assert "not supported" in gpus.nvidia_smi("-i", "1", "-pl", "50").stdout
    assert gpus.nvidia_smi("-i", "1", "-lgc", "300,2100").returncode == 0
    assert gpus.state.get(1, "locked_clock_max") == "2100"
    assert gpus.nvidia_smi("-i", "1", "-rgc").returncode == 0
    assert "Enabled persistence mode" in gpus.nvidia_smi("-i", "0", "-pm", "1").stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a capability up")
def test_nvidia_smi_needs_the_capability_to_change_anything(gpus: HostGpus) -> None:
    gpus.state.create("rtx4090")
    drop = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    code = "import pynvml as n; n.nvmlInit(); h = n.nvmlDeviceGetHandleByIndex(0)\n"
    code += "n.nvmlDeviceSetPowerManagementLimit(h, 400000)"
    argv = [*drop, sys.executable, "-c", code]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, env=gpus.environment)
    assert "Insufficient Permissions" in done.stderr


def test_nvidia_smi_says_that_the_driver_is_the_wrong_one(gpus: HostGpus) -> None:
    gpus.state.create("rtx4090")
    gpus.set(None, init="!LIB_RM_VERSION_MISMATCH")
    done = gpus.nvidia_smi("-L")
    assert (done.returncode, done.stdout.strip()) == (
        18,
        "Failed to initialize NVML: Driver/library version mismatch",
    )


def test_the_command_line_changes_the_state(gpus: HostGpus) -> None:
    gpus.state.create("rtx4090")

    def nvsim(*argv: str) -> None:
        assert control.main(["--state", str(gpus.state.path), *argv]) == 0

    nvsim("set", "0.temperature=83", "driver_version=1.2")
    nvsim("wedge", "0")
    nvsim("lose", "0")
    assert (gpus.state.get(0, "temperature"), gpus.state.get(0, "lost")) == ("83", "1")
    assert gpus.state.get(None, "driver_version") == "1.2"
    nvsim("find", "0")
    nvsim("release", "0")
    nvsim("del", "0.fan")
    nvsim("ramp", "0", "temperature", "60", "70", "0.1")
    assert [gpus.state.get(0, key) for key in ("lost", "hang", "fan", "temperature")] == [
        None,
        None,
        None,
        "70",
    ]


def test_a_cooler_room_ends_the_throttling_and_a_cap_costs_clock() -> None:
    card = physics.Card(
        idle_watts=36,
        full_watts=450,
        limit_watts=450,
        load=1.0,
        ambient=48,
        slowdown=85,
        temperature=40,
    )
    for _ in range(200):
        card = physics.step(card, 1)
    assert card.temperature > 80
    assert card.reasons & (physics.SW_THERMAL | physics.HW_THERMAL)
    capped = card
    for _ in range(200):
        capped = physics.step(replace(capped, limit_watts=300), 1)
    assert capped.reasons == physics.SW_POWER_CAP
    assert capped.temperature < 80
    assert 0.8 < capped.clock < 0.95


def test_the_model_moves_what_nvml_says(gpus: HostGpus, program: Program) -> None:
    gpus.set(0, load=1, power_limit_mw=300_000)
    for _ in range(40):
        physics.advance(gpus.state, 0, 1)
    assert program("n.nvmlDeviceGetPowerUsage(handles[0])") == 300_000
    assert program("n.nvmlDeviceGetCurrentClocksEventReasons(handles[0])") == physics.SW_POWER_CAP
    assert program("n.nvmlDeviceGetTemperatureV(handles[0], 0)") > 45
    assert program(FIELD.format(0, [74])) == [[0, 40 * 10**9]]
