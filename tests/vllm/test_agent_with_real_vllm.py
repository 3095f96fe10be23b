# SPDX-License-Identifier: Apache-2.0
"""The main job on real parts: vLLM fails for want of memory, is cured, proven, killed, and back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.conftest import Boot
from tests.rig import binds
from tests.rig.container import Container
from tests.rig.installed import CONFIG, Agent
from tests.rig.show import AGENT_TOML, GIB, completion

START_SECONDS = 300


@pytest.fixture(scope="module")
def agent(boot_for_module: Boot) -> Agent:
    """Returns a machine of 6 GiB whose agent was told to serve with too high a utilization."""
    machine = boot_for_module(
        "bookworm", binds=[binds.vllm(), binds.models()], memory_limit=6 * GIB
    )
    agent = Agent(machine)
    agent.install()
    machine.write(CONFIG, AGENT_TOML)
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


def test_the_model_completes(agent: Agent, served: dict[str, Any]) -> None:
    assert served["url"] == "http://127.0.0.1:8000"
    assert json.loads(completion(agent.box))["usage"]["completion_tokens"] == 12


def test_the_live_service_is_measured_by_vllms_own_benchmark(
    agent: Agent, served: dict[str, Any]
) -> None:
    argv = ["llmagent", "bench", "--batches", "1,2", "--contexts", "64", "--output-tokens", "8"]
    done = agent.box.run([*argv, "--format", "json"], timeout=240)
    assert "without vllm bench" not in done.stderr
    result = json.loads(done.stdout)
    assert [point["completed"] for point in result["points"]] == [3, 6, 3]
    assert result["points"][0]["output_tokens_per_second"] > 0
    assert agent.events("bench")[-1]["data"]["file"] == result["saved"]


def killed_engine(box: Container) -> None:
    box.run(["pkill", "-9", "-f", "VLLM::EngineCore"])


def test_a_killed_engine_is_back_without_a_person(agent: Agent, served: dict[str, Any]) -> None:
    """vLLM ends with exit status 0 when its engine dies; that is a failure all the same."""
    before = served["invocation_id"]
    killed_engine(agent.box)

    def back() -> bool:
        status = agent.status()
        return status.get("phase") == "serving" and status["invocation_id"] != before

    agent.box.wait_for(back, START_SECONDS, "the service to be back")
    assert agent.status()["restarts"]["engine-dead"] == 1
    assert json.loads(completion(agent.box))["usage"]["completion_tokens"] == 12


def test_a_frozen_engine_that_answers_health_is_killed_and_back(
    agent: Agent, served: dict[str, Any]
) -> None:
    """SIGSTOP of the engine: /health goes on saying 200, only tokens tell."""
    quick = "\n[service.vllm.recovery]\npoll_seconds = 1\nhang_seconds = 5\n"
    quick += "canary_seconds = 5\ncanary_every_seconds = 5\n"
    agent.box.write(CONFIG, AGENT_TOML.replace("\n[service.vllm.recovery]\n", quick))
    agent.box.run(["systemctl", "reload", "llmagent"])
    before = agent.status()["invocation_id"]
    agent.box.run(["pkill", "-STOP", "-f", "VLLM::EngineCore"])
    assert agent.box.http_get(8000, "/health").status == 200

    def back() -> bool:
        status = agent.status()
        return status.get("phase") == "serving" and status["invocation_id"] != before

    agent.box.wait_for(back, START_SECONDS, "the service to be back")
    assert agent.status()["restarts"]["engine-hung"] == 1
