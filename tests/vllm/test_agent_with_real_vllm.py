# SPDX-License-Identifier: Apache-2.0
"""The main job on real parts, on one machine and in as few starts of vLLM as tell the story.

vLLM fails for want of memory, is cured and proven; it is killed, and back; it is frozen, and back;
it is stopped while it answers, and while it starts. Each start takes the CPU of half a minute.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import Boot
from tests.rig import binds
from tests.rig.container import Container
from tests.rig.installed import CONFIG, Agent
from tests.rig.show import AGENT_TOML, GIB, MODEL, completion

START_SECONDS = 300
MEMORY = 6 * GIB
"""Three processes and a KV cache that is no larger than it must be: its pages are touched at every
start. With less, what vLLM leaves free is no share of it that recovery may learn."""

ASKED = AGENT_TOML.replace("max_num_seqs = 8", "max_num_seqs = 8\nenforce_eager = true")
"""Nothing here looks at what is compiled, which takes half a minute with empty caches."""

QUICK = """
[service.vllm.recovery]
poll_seconds = 1
hang_seconds = 5
canary_seconds = 5
canary_every_seconds = 5
"""


@pytest.fixture(scope="module")
def agent(boot_for_module: Boot) -> Agent:
    """Returns a machine whose agent was told to serve with too high a utilization."""
    machine = boot_for_module("bookworm", binds=[binds.vllm(), binds.models()], memory_limit=MEMORY)
    # As on a server: an address and a default route, which vLLM prefers for talking to itself.
    machine.run(["ip", "address", "add", "10.9.9.9/24", "dev", "lo"])
    machine.run(["ip", "route", "add", "default", "dev", "lo", "src", "10.9.9.9"])
    agent = Agent(machine)
    agent.install()
    machine.write(CONFIG, ASKED)
    machine.run(["systemctl", "reload", "llmagent"])
    return agent


@pytest.fixture(scope="module")
def served(agent: Agent) -> dict[str, Any]:
    """Returns the status once the service serves for the first time."""
    return agent.wait("serving", seconds=2 * START_SECONDS)


def test_the_failure_is_named_with_vllms_own_line_and_cured_once(
    agent: Agent, served: dict[str, Any]
) -> None:
    assert served["restarts"] == {"oom-free-mem-startup": 1}
    failure = agent.events("failure")[0]
    assert "Available memory on node 0" in failure["data"]["evidence"][0]
    learned = served["overrides"]["gpu_memory_utilization"]
    assert learned["asked"] == 0.95
    assert 0.5 <= learned["running"] < 0.75


def test_awq_and_fp8_are_proven_and_marlin_is_honestly_not(
    agent: Agent, served: dict[str, Any]
) -> None:
    checks = {check["item"]: check for check in served["verification"]}
    for item in ("quantization", "kv_cache_dtype", "kv_bytes_per_token", "max_model_len"):
        assert checks[item]["verdict"] == "proven", checks[item]
        assert checks[item]["evidence"]
    for item in ("completion", "prefix_cache_hits", "gpu_memory_utilization", "model"):
        assert checks[item]["verdict"] == "proven", checks[item]
    kernel = checks["linear_kernel"]
    assert kernel["verdict"] == "contradicted"
    assert kernel["got"] == "CPUWNA16LinearKernel"
    verify = agent.box.run(["llmagent", "verify"], check=False, timeout=120)
    assert verify.returncode == 1
    assert "not proven: kernel is CPUWNA16LinearKernel" in verify.stdout
    journal = agent.box.journal("vllm.service")
    assert "kv_cache_dtype=fp8" in journal
    assert "max_seq_len=1024" in journal
    assert "\x1b[" not in journal


def test_the_model_completes(agent: Agent, served: dict[str, Any]) -> None:
    assert served["url"] == "http://127.0.0.1:8000"
    assert json.loads(completion(agent.box))["usage"]["completion_tokens"] == 12


def test_the_live_service_is_measured_by_vllms_own_benchmark(
    agent: Agent, served: dict[str, Any]
) -> None:
    """One point: each is a process of its own that imports vLLM, which takes 10 s of CPU."""
    argv = ["llmagent", "bench", "--batches", "2", "--contexts", "", "--output-tokens", "8"]
    done = agent.box.run([*argv, "--format", "json"], timeout=240)
    assert "without vllm bench" not in done.stderr
    result = json.loads(done.stdout)
    assert [point["completed"] for point in result["points"]] == [6]
    assert result["points"][0]["output_tokens_per_second"] > 0
    assert agent.events("bench")[-1]["data"]["file"] == result["saved"]


def test_it_talks_to_nobody_but_itself(agent: Agent, served: dict[str, Any]) -> None:
    peers = agent.box.run(["ss", "--no-header", "--numeric", "--tcp", "state", "established"])
    addresses = {line.split()[3].rpartition(":")[0] for line in peers.stdout.splitlines()}
    assert addresses <= {"127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"}


def test_everything_it_keeps_is_in_its_own_directories(
    agent: Agent, served: dict[str, Any]
) -> None:
    places = ["/etc", "/home", "/opt/llmagent", "/root", "/srv", "/tmp", "/usr", "/var"]
    found = agent.box.run(["find", *places, "-xdev", "-user", "vllm"], check=False).stdout
    strays = {
        path
        for path in found.splitlines()
        if not path.startswith(("/var/lib/vllm", "/var/cache/vllm", "/tmp/systemd-private-"))
        and not path.startswith("/var/tmp/systemd-private-")
    }
    assert strays == set()


def test_check_refuses_a_flag_that_this_vllm_does_not_have(
    agent: Agent, served: dict[str, Any]
) -> None:
    wrong = ASKED.replace("max_num_seqs = 8", 'extra_args = ["--max-num-sequence=3"]')
    agent.box.write("/root/wrong.toml", wrong)
    done = agent.box.run(["llmagent", "check", "/root/wrong.toml"], check=False, timeout=300)
    assert done.returncode == 2
    assert "no --max-num-sequence: did you mean --max-num-seqs?" in done.stdout
    good = agent.box.run(["llmagent", "check"], check=False, timeout=60)
    assert good.returncode == 0
    assert "/etc/llmagent/agent.toml: ok, vllm.service on 127.0.0.1:8000\n" in good.stdout
    owner = agent.box.run(["stat", "-c", "%U", "/var/lib/llmagent/engine-help"]).stdout.strip()
    assert owner == "root"


def serves_again(agent: Agent, before: str) -> None:
    def back() -> bool:
        status = agent.status()
        return status.get("phase") == "serving" and status["invocation_id"] != before

    agent.box.wait_for(back, START_SECONDS, "the service to be back")


def test_a_killed_engine_is_back_without_a_person(agent: Agent, served: dict[str, Any]) -> None:
    """vLLM ends with exit status 0 when its engine dies; that is a failure all the same."""
    agent.box.run(["pkill", "-9", "-f", "VLLM::EngineCore"])
    serves_again(agent, served["invocation_id"])
    assert agent.status()["restarts"]["engine-dead"] == 1
    told = agent.events("back")[-1]["data"]
    assert {"imports", "engine-core", "workers", "weights", "server"} <= told["stages"].keys()
    assert sum(told["stages"].values()) == pytest.approx(told["outage"]["start"], rel=0.2)
    assert agent.status()["start_stage_seconds"] == told["stages"]
    assert json.loads(completion(agent.box))["usage"]["completion_tokens"] == 12


def test_a_frozen_engine_that_answers_health_is_killed_and_back(
    agent: Agent, served: dict[str, Any]
) -> None:
    """SIGSTOP of the engine: /health goes on saying 200, only tokens tell."""
    agent.box.write(CONFIG, ASKED.replace("\n[service.vllm.recovery]\n", QUICK))
    agent.box.run(["systemctl", "reload", "llmagent"])
    before = agent.status()["invocation_id"]
    agent.box.run(["pkill", "-STOP", "-f", "VLLM::EngineCore"])
    assert agent.box.http_get(8000, "/health").status == 200
    serves_again(agent, before)
    assert agent.status()["restarts"]["engine-hung"] == 1
    # With the usual patience again: a busy machine may answer later than these limits.
    agent.box.write(CONFIG, ASKED)
    agent.box.run(["systemctl", "reload", "llmagent"])


def test_a_stop_lets_requests_in_flight_end(agent: Agent, served: dict[str, Any]) -> None:
    box = agent.box
    asked = {"model": MODEL, "prompt": "hello", "max_tokens": 400, "n": 64, "ignore_eos": True}
    body = json.dumps({**asked, "stream": True})
    curl = ["curl", "-sN", "-o", "/root/answer", "-H", "Content-Type: application/json"]
    with box.popen([*curl, "-d", body, "http://127.0.0.1:8000/v1/completions"]) as client:
        begun = ["grep", "-q", "^data: {", "/root/answer"]
        box.wait_for(lambda: box.run(begun, check=False).returncode == 0, 60, "tokens")
        box.run(["systemctl", "stop", "vllm.service"], timeout=120)
        assert client.wait(60) == 0
    assert box.read("/root/answer").rstrip().endswith("data: [DONE]")
    assert box.show("vllm.service", "Result", "ActiveState") == {
        "Result": "success",
        "ActiveState": "inactive",
    }


def test_a_stop_during_start_up_does_not_wait_for_a_deadline(
    agent: Agent, served: dict[str, Any]
) -> None:
    box = agent.box
    box.run(["systemctl", "start", "vllm.service"])
    box.wait_for(
        lambda: "Initializing a V1 LLM engine" in this_run(box), START_SECONDS, "the engine"
    )
    box.run(["systemctl", "stop", "vllm.service"], timeout=120)
    assert box.show("vllm.service", "Result") != {"Result": "timeout"}
    assert box.run(["pgrep", "-u", "vllm"], check=False).stdout == ""


def this_run(box: Container) -> str:
    invocation = box.show("vllm.service", "InvocationID")["InvocationID"]
    argv = ["journalctl", "--no-pager", "--all", "-o", "cat"]
    return box.run([*argv, f"_SYSTEMD_INVOCATION_ID={invocation}"]).stdout
