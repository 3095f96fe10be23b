# SPDX-License-Identifier: Apache-2.0
"""What is asked before a service starts and once it serves: plan, profiles, doctor, sweep."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import Boot
from tests.rig import binds, scripted
from tests.rig.installed import Agent, service_table
from tests.rig.nvsim import MachineGpus


@pytest.fixture(scope="module")
def agent(boot_for_module: Boot) -> Agent:
    machine = boot_for_module("bookworm", binds=[binds.scripted_engine(), binds.simulated_gpus()])
    agent = Agent(machine)
    agent.install()
    return agent


def said(agent: Agent, *argv: str, status: int = 0) -> Any:
    """What a command prints as JSON; it ends with `status`."""
    done = agent.box.run(["llmagent", *argv, "--format", "json"], check=False, timeout=120)
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def test_the_shipped_profiles_and_models_are_in_the_package(agent: Agent) -> None:
    names = [row["name"] for row in said(agent, "profiles")["profiles"]]
    assert "llama-3.1-8b-fp8-rtx4090" in names
    profile = said(agent, "profiles", "llama-3.1-8b-fp8-rtx4090")
    assert profile["plan"]["verdict"] == "fits"
    assert "195" in profile["contradictions"][0]
    model = ("--model", "meta-llama/Llama-3.1-8B-Instruct", "--gpu-memory-gib", "23.5")
    assert said(agent, "plan", *model, "--max-model-len", "8192")["verdict"] == "fits"


def test_a_profile_fills_what_the_service_leaves_out(agent: Agent) -> None:
    table = '[service.vllm]\nprofile = "llama-3.1-8b-fp8-rtx4090"\nmax_num_seqs = 4\n'
    agent.box.write("/root/agent.toml", f'{table}python = "{scripted.PYTHON}"\n')
    unit = said(agent, "render", "--config", "/root/agent.toml")["units"][0]["text"]
    for flag in ("--max-num-seqs=4", "--max-model-len=65536", "--kv-cache-dtype=fp8"):
        assert flag in unit


def test_the_doctor_names_who_has_the_port_and_changes_nothing(agent: Agent) -> None:
    agent.configure(service_table())
    agent.wait("serving")
    before = agent.pid("vllm")
    findings = {f["check"]: f for f in said(agent, "doctor", "--offline")["findings"]}
    assert findings["port"]["evidence"] == "8000 is the service's own"
    assert findings["other-engines"]["result"] == "ok"
    assert findings["gpu"]["result"] == "skipped"
    agent.box.write("/root/agent.toml", service_table("other"))
    other = said(agent, "doctor", "--offline", "--config", "/root/agent.toml", status=1)
    taken = next(f for f in other["findings"] if f["check"] == "port")
    assert taken["result"] == "fail"
    assert "of vllm.service" in taken["evidence"]
    assert agent.pid("vllm") == before


def test_a_sweep_finds_the_knee_and_leaves_the_service_as_it_was(agent: Agent) -> None:
    agent.begin_anew()
    scripted.set_scenario(agent.box, {"free_gib": 20.0, "token_seconds": 0.02})
    agent.configure(service_table(gpu_memory_utilization=0.8, max_num_seqs=4))
    agent.wait("serving")
    argv = ("bench", "--sweep", "--apply", "--seqs", "1,2", "--shares", "0.8,0.99")
    result = said(agent, *argv, "--output-tokens", "5")
    rates = {(o["setting"], o["value"]): o for o in result["outcomes"]}
    assert rates["max_num_seqs", 2]["output_tokens_per_second"]
    assert "did not start" in rates["gpu_memory_utilization", 0.99]["why"]
    assert result["would_set"]["gpu_memory_utilization"] == 0.8
    profile = said(agent, "profiles", "vllm-tuned")
    assert profile["settings"]["max_num_seqs"] == result["would_set"]["max_num_seqs"]
    agent.wait("serving")
    assert agent.box.show("llmagent", "ActiveState")["ActiveState"] == "active"
    assert not agent.box.exists("/run/systemd/system/vllm.service.d/90-llmagent-sweep.conf")
    start = scripted.starts(agent.box)[-1]
    assert start.value("--max-num-seqs") == "4"
    assert start.value("--gpu-memory-utilization") == "0.8"


def test_the_doctor_asks_nvml_itself(agent: Agent) -> None:
    gpus = MachineGpus(agent.box)
    gpus.install("rtx4090")
    findings = {f["check"]: f for f in said(agent, "doctor", "--offline")["findings"]}
    assert findings["gpu"]["evidence"] == "0: NVIDIA GeForce RTX 4090"
    assert findings["driver-in-one-piece"]["result"] == "ok"
    gpus.set(0, recovery_action=1)
    findings = {f["check"]: f for f in said(agent, "doctor", "--offline", status=1)["findings"]}
    assert "asks for a reset" in findings["gpu"]["evidence"]
