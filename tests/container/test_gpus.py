# SPDX-License-Identifier: Apache-2.0
"""The installed agent with simulated GPUs: it sees them, and survives what drivers do."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.conftest import Boot
from tests.rig import binds, scripted
from tests.rig.installed import OURS, QUICK, Agent, service_table
from tests.rig.nvml.state_file import uuid_of
from tests.rig.nvsim import MachineGpus


class Machine:
    """A booted machine with the installed agent and a driver that is there or not."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.box = agent.box
        self.gpus = MachineGpus(agent.box)

    def status(self) -> dict[str, Any]:
        """Returns the whole status."""
        said = self.box.run(["llmagent", "status", "--format", "json"], check=False).stdout
        found: dict[str, Any] = json.loads(said) if said else {}
        return found

    def gpu(self, index: int = 0) -> dict[str, Any]:
        """Returns one card of the status, {} where it is not shown."""
        cards = {gpu["index"]: gpu for gpu in self.status().get("gpus") or ()}
        found: dict[str, Any] = cards.get(index, {})
        return found

    def told(self, kind: str) -> list[str]:
        """Returns the messages of the history of one kind."""
        return [event["message"] for event in self.agent.events(kind)]

    def metric(self, name: str) -> float | None:
        """Returns the value of a series."""
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.agent.metrics(), re.MULTILINE)
        return float(found[1]) if found else None


@pytest.fixture(scope="module")
def machine(boot_for_module: Boot) -> Machine:
    shown = [binds.scripted_engine(), binds.simulated_gpus()]
    made = Machine(Agent(boot_for_module("bookworm", binds=shown)))
    made.agent.install()
    return made


def test_without_a_driver_the_agent_serves_and_looks_again(machine: Machine) -> None:
    scripted.set_scenario(machine.box, {})
    machine.agent.configure(service_table(gpus=["0"]))
    machine.agent.wait("serving")
    assert machine.metric('llmagent_source_up{source="nvml"}') == 1
    assert "gpus" not in machine.status()
    assert machine.metric("llmagent_nvml_up") is None

    machine.gpus.install("rtx4090", "h200")
    machine.box.wait_for(lambda: machine.gpu(1), 20, "the cards that were put in")
    assert machine.gpu(0)["name"] == "NVIDIA GeForce RTX 4090"
    assert machine.gpu(1)["memory_temperature_celsius"] == 41.0
    assert machine.metric("llmagent_nvml_up") == 1
    (works,) = machine.told("driver")
    assert works.startswith("NVML works: driver 595.71.05, GPU 0 (NVIDIA GeForce RTX 4090)")


def test_what_a_card_says_is_in_the_metrics_at_once(machine: Machine) -> None:
    machine.gpus.set(0, temperature=83, utilization=97, reasons="0x4")
    labels = f'{{gpu="0",uuid="{uuid_of(0)}"}}'
    series = f"llmagent_gpu_temperature_celsius{labels}"
    machine.box.wait_for(lambda: machine.metric(series) == 83, 15, "the temperature")
    assert machine.metric(f"llmagent_gpu_utilization_ratio{labels}") == 0.97
    assert machine.metric(f"llmagent_gpu_fan_speed_ratio{labels}") == 0
    assert machine.metric(f"llmagent_gpu_memory_temperature_celsius{labels}") is None


def test_a_lost_card_is_told_and_the_other_one_is_read_on(machine: Machine) -> None:
    pid = machine.agent.pid("vllm")
    machine.gpus.run("lose", "1")
    machine.box.wait_for(lambda: machine.gpu(1).get("lost"), 15, "the loss")
    assert machine.told("gpu-lost") == [
        "GPU 1 (NVIDIA H200) is lost: NVML does not reach it any more"
    ]
    assert not machine.gpu(0)["lost"]
    machine.gpus.run("find", "1")
    machine.box.wait_for(lambda: machine.told("gpu-back"), 15, "the return")
    assert machine.agent.pid("vllm") == pid


def test_a_start_waits_until_the_driver_gives_back_the_last_runs_memory(machine: Machine) -> None:
    agent, box = machine.agent, machine.box
    scripted.set_scenario(box, {"phase_seconds": {"load": 3}}, {})
    before = agent.pid("vllm")
    box.run(["systemctl", "kill", "-s", "KILL", "vllm"])
    box.wait_for(lambda: agent.pid("vllm") not in (0, before), 15, "a new process")
    pid = agent.pid("vllm")
    machine.gpus.set(0, processes=f"{pid}:{4 * 2**30}")
    box.wait_for(lambda: machine.gpu()["processes"], 10, "its memory to be seen")
    box.run(["systemctl", "kill", "-s", "KILL", "vllm"])
    waits = f"waits until process {pid} of the previous run gives back 4.0 GiB of GPU 0"
    box.wait_for(lambda: agent.status()["reason"] == waits, 15, "the start to wait")
    assert agent.pid("vllm") == 0
    machine.gpus.set(0, processes=None)
    agent.wait("serving")
    assert machine.told("wait")[-1] == waits


def test_a_measured_kv_cache_is_used_again_and_dropped_when_memory_runs_out(
    machine: Machine,
) -> None:
    agent, box = machine.agent, machine.box
    scripted.set_scenario(box, {})
    quick = QUICK.replace("settle_seconds = 20", "settle_seconds = 2")
    table = service_table(gpus=["0"], **OURS).replace(QUICK, f"{quick}reuse_profile = true\n")
    listed = "/var/lib/llmagent/ahead/vllm"  # of a run that has settled
    box.run(["rm", "-f", listed])
    agent.configure(table)
    agent.wait("serving")

    def died(how: str) -> None:
        before = agent.pid("vllm")
        scripted.cue(box, how)
        box.wait_for(lambda: agent.pid("vllm") not in (0, before), 20, "a new process")
        agent.wait("serving")

    box.wait_for(lambda: box.exists(listed), 40, "the run to settle")
    assert scripted.starts(box)[-1].value("--kv-cache-memory-bytes") is None
    died("engine-dead")
    size = scripted.starts(box)[-1].value("--kv-cache-memory-bytes")
    assert size is not None
    assert 0 < int(size) < 24 * 2**30
    checks = {check["item"]: check for check in agent.status()["verification"]}
    assert checks["kv_cache_memory_bytes"]["verdict"] == "proven"
    assert "as specified by" in checks["kv_cache_memory_bytes"]["evidence"]
    assert machine.told("measured")[-1].startswith(f"kv_cache_memory_bytes = {size} from now on")
    died("oom-runtime")
    assert scripted.starts(box)[-1].value("--kv-cache-memory-bytes") is None
    assert "oom-runtime: kv_cache_memory_bytes" in machine.told("forgotten")[-1]


def test_a_stuck_driver_stops_the_gpu_readings_and_nothing_else(machine: Machine) -> None:
    pid, agent = machine.agent.pid("vllm"), machine.agent.pid("llmagent")
    machine.gpus.run("wedge", "0")
    up = 'llmagent_source_up{source="nvml"}'
    machine.box.wait_for(lambda: machine.metric(up) == 0, 25, "the source to be given up")
    (problem,) = machine.told("driver-problem")
    assert "NVML hangs in" in problem
    assert "of GPU 0, without an answer for 10 s" in problem
    assert machine.metric('llmagent_source_up{source="systemd"}') == 1
    assert machine.metric("llmagent_nvml_up") == 0
    assert machine.agent.status()["phase"] == "serving"

    machine.gpus.run("release", "0")
    machine.box.wait_for(lambda: machine.metric(up) == 1, 35, "the source to work again")
    assert machine.agent.pid("vllm") == pid
    assert machine.agent.pid("llmagent") == agent


def test_a_replaced_driver_has_the_agent_begin_anew_under_the_running_service(
    machine: Machine,
) -> None:
    pid, agent = machine.agent.pid("vllm"), machine.agent.pid("llmagent")
    machine.gpus.run("driver-upgrade", "600.10.01")
    machine.box.wait_for(
        lambda: machine.status()["driver"]["mismatch"], 20, "the upgrade to be seen"
    )
    assert (
        "what runs is left alone, the next start would fail" in machine.told("driver-problem")[-1]
    )
    assert machine.agent.status()["phase"] == "serving"

    machine.gpus.run("driver-reload")
    machine.box.wait_for(
        lambda: machine.status().get("driver", {}).get("mapped_version") == "600.10.01",
        30,
        "a process with the new library",
    )
    anew = [line for line in machine.told("driver") if "it starts itself anew" in line]
    assert len(anew) == 1
    assert "driver 600.10.01 is loaded, llmagent still has the library of 595.71.05" in anew[0]
    assert machine.told("driver")[-1].startswith("NVML works: driver 600.10.01, GPU 0")
    assert machine.agent.pid("llmagent") == agent, "the same process to systemd"
    assert machine.agent.pid("vllm") == pid, "the service goes on"
    assert machine.agent.status()["phase"] == "serving"
    machine.box.wait_for(
        lambda: machine.box.show("llmagent", "ActiveState")["ActiveState"] == "active",
        10,
        "systemd to hear that the agent is ready",
    )
    assert machine.box.show("llmagent", "NRestarts")["NRestarts"] == "0"
