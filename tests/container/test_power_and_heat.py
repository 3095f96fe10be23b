# SPDX-License-Identifier: Apache-2.0
"""The installed agent holds simulated GPUs to their limits, and acts on heat and on Xids.

nvidia-smi runs as root's systemd runs it for the agent; Xids come through the real journald, which
takes a named pipe in place of /dev/kmsg for the kernel's own.
"""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from tests.conftest import Boot
from tests.container.inside import tell_inside
from tests.rig import binds, scripted
from tests.rig.container import Container
from tests.rig.installed import Agent, service_table
from tests.rig.nvsim import MachineGpus

CAP_SYS_ADMIN = 21
CAP = "[power]\nlimit_watts = 400\n"
HOT = (
    '[thermal]\naction = "lower_power"\nwarning_celsius = 80\ncritical_celsius = 90\n'
    "after_seconds = 0\nstep_watts = 50\n"
)


class Machine:
    """A machine with the installed agent, one simulated card and a kernel log of its own."""

    def __init__(self, box: Container) -> None:
        self.box = box
        self.agent = Agent(box)
        self.gpus = MachineGpus(box)
        self._serial = count(1)
        self.agent.install()
        self.box.run(["mkfifo", "-m", "600", "/dev/kmsg"])
        # journald would wait for a reader when it opens the pipe to write its own lines.
        keep_open = ["sh", "-c", "exec sleep infinity 3<>/dev/kmsg"]
        self.box.run(["systemd-run", "--quiet", "--unit=kmsg", *keep_open])
        self.box.run(["systemctl", "restart", "systemd-journald"])

    def begin_anew(self) -> None:
        """One card at its default limit, nothing configured, nothing remembered.

        It is busy, so that it is looked at every second.
        """
        self.gpus.install("rtx4090")
        self.gpus.set(0, utilization=50)
        self.agent.begin_anew()
        scripted.set_scenario(self.box, {})

    def kernel_says(self, line: str, priority: int = 3) -> None:
        """Writes a line as the kernel does: priority, serial number, microseconds, flag."""
        number = next(self._serial)
        record = f"{priority},{number},{number},-;{line}\n"
        self.box.run(["sh", "-c", 'printf %s "$0" > /dev/kmsg', record])

    def requested(self) -> float:
        said = self.box.run(
            ["nvidia-smi", "-i", "0", "--query-gpu=power.limit", "--format=csv,noheader,nounits"]
        ).stdout
        return float(said)

    def wait_for_limit(self, watts: float, seconds: float = 25) -> None:
        self.box.wait_for(
            lambda: self.requested() == watts, seconds, f"a limit of {watts:g} W to be set"
        )

    def told(self, kind: str) -> list[str]:
        return [event["message"] for event in self.agent.events(kind)]

    def wait_for_news(self, kind: str, seconds: float = 25) -> list[str]:
        found = self.box.wait_for(lambda: self.told(kind), seconds, f"news of {kind}")
        assert found
        return found

    def agent_has(self, capability: int) -> bool:
        status = self.box.read(f"/proc/{self.agent.pid('llmagent')}/status")
        lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        return bool(int(lines["CapEff"], 16) >> capability & 1)

    def held(self) -> dict[str, Any]:
        found = self.agent.wait("held")["held"]
        assert found is not None
        return dict(found)


@pytest.fixture(scope="module")
def installed(boot_for_module: Boot) -> Machine:
    return Machine(
        boot_for_module("bookworm", binds=[binds.scripted_engine(), binds.simulated_gpus()])
    )


@pytest.fixture
def machine(installed: Machine) -> Machine:
    installed.begin_anew()
    return installed


def test_the_cap_is_in_force_before_the_start_kept_and_given_back(machine: Machine) -> None:
    machine.agent.configure(CAP, service_table())
    machine.agent.wait("serving")
    assert machine.requested() == 400.0
    history = machine.agent.events()
    kinds = [event["kind"] for event in history]
    assert kinds.index("power") < kinds.index("start")
    assert not machine.agent_has(CAP_SYS_ADMIN)
    machine.box.run(["nvidia-smi", "-i", "0", "-pl", "450"])
    machine.wait_for_limit(400.0)
    (drift,) = machine.told("power-drift")
    assert "power limit is 450 W, not 400 W: changed" in drift
    machine.agent.configure(service_table())
    machine.wait_for_limit(450.0)
    machine.box.wait_for(
        lambda: "is back at 450 W" in machine.told("power")[-1], 15, "the release to be told"
    )


def test_a_limit_that_is_not_permitted_is_told_once_and_the_service_runs(machine: Machine) -> None:
    machine.gpus.set(0, nvmlDeviceSetPowerManagementLimit="!NO_PERMISSION")
    machine.agent.configure(CAP, service_table())
    machine.agent.wait("serving")
    (told,) = machine.wait_for_news("power-blocked")
    assert "the driver does not permit it" in told
    assert machine.requested() == 450.0


def test_an_nvidia_smi_that_hangs_is_killed_with_its_children(machine: Machine) -> None:
    machine.box.write("/srv/hangs", "#!/bin/sh\ntrap '' TERM\nsleep 987 &\nsleep 987\n", mode=0o755)
    result = tell_inside(
        machine.box,
        """
from agent.host.nvidia import smi as nvidia_smi
ended = nvidia_smi.run("/srv/hangs", ("-L",), nvidia_smi.launcher(1))
tell([ended.end.name, ended.said])
""",
    )
    assert result[0] == "FAILED"
    assert "hung" in result[1]
    assert machine.box.run(["pgrep", "-f", "sleep 987"], check=False).stdout == ""


def test_heat_takes_power_and_gives_it_back(machine: Machine) -> None:
    machine.agent.configure(CAP, HOT)
    machine.wait_for_limit(400.0)
    machine.gpus.set(0, temperature=93, reasons=0x48)
    machine.wait_for_limit(350.0)
    assert "400 -> 350 W: the hardware slows it down at 93 C" in machine.told("power-lowered")[0]
    assert "HW_THERMAL_SLOWDOWN at 93 C" in machine.wait_for_news("throttled")[0]
    machine.agent.configure(CAP)
    machine.wait_for_limit(400.0)


def test_a_card_off_the_bus_holds_its_service_and_a_page_fault_restarts_it(
    machine: Machine,
) -> None:
    machine.agent.configure(service_table())
    machine.agent.wait("serving")
    before = machine.agent.pid("vllm")
    scripted.cue(machine.box, "hang")
    # What root of a container writes to /dev/kmsg is of facility 1: the kernel sees to that.
    fault = machine.gpus.run("xid", "0", "31")
    machine.kernel_says(fault.replace(": 31,", ": 79,"), priority=8 + 3)
    machine.kernel_says(fault)
    machine.box.wait_for(
        lambda: machine.agent.status()["restarts"].get("xid-31"), 25, "the restart of an Xid 31"
    )
    machine.agent.wait("serving")
    assert machine.agent.pid("vllm") != before
    machine.kernel_says(machine.gpus.run("xid", "0", "79"))
    held = machine.held()
    assert "Xid 79 (the GPU does not answer on the bus)" in held["why"]
    assert "systemctl reboot" in held["what_to_do"]
    counted = [event for event in machine.agent.events("xid") if event["data"]["xid"] == 79]
    assert [event["data"]["services"] for event in counted] == [["vllm"]]


def test_a_crash_that_the_kernel_tells_of_is_that_service_s_and_names_the_library(
    machine: Machine,
) -> None:
    """Another process' crash beside a death without a word is no cause of it."""
    where = "segfault at 0 ip 00007f2a4c2b1d10 sp 00007ffd52a3b2c8 error 4 in"
    machine.agent.configure(service_table())
    machine.agent.wait("serving")
    pid = machine.agent.pid("vllm")
    machine.kernel_says(f"python3[1]: {where} libodd.so[7f2a4c000000+1a0000]")
    machine.kernel_says(f"VLLM::EngineCor[{pid}]: {where} libcuda.so.580.95[7f2a4c000000+1a0000]")
    machine.box.run(["kill", "-SEGV", str(pid)])
    machine.box.wait_for(
        lambda: machine.agent.status()["restarts"].get("native-crash"), 25, "a native crash"
    )
    told = " ".join(event["message"] for event in machine.agent.events("failure"))
    assert "libcuda.so.580.95" in told
    assert "libodd" not in told
    machine.agent.wait("serving")


def test_an_xid_that_the_kernel_log_lacks_is_told_by_nvml(machine: Machine) -> None:
    machine.agent.configure(service_table())
    machine.agent.wait("serving")
    machine.gpus.run("xid", "0", "43")
    machine.box.wait_for(
        lambda: any("GPU 0" in told and "Xid 43" in told for told in machine.told("xid")),
        25,
        "an Xid that is no line of the kernel log",
    )
