# SPDX-License-Identifier: Apache-2.0
"""vLLM 0.33 for real: flags, proof, a pause, a killed engine, a stop; one start tells it.

Its Python runs on the compiled library of 0.32 (tests/rig/README.md), so that nothing here looks at
quantized weights. tests/README.md says what else of this release is only read.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Boot
from tests.rig import binds
from tests.rig.installed import CONFIG, Agent
from tests.rig.show import GIB

START_SECONDS = 300
MODEL = "/srv/models/tiny-llama"
ASKED = f"""\
[service.vllm]
model = "{MODEL}"
python = "/opt/vllm-033/bin/python"
kv_cache_dtype = "fp8"
max_model_len = 1024
max_num_seqs = 8
gpu_memory_utilization = 0.5
enforce_eager = true
extra_args = ["--watchdog-config", '{{"dump_dir": "/var/lib/vllm", "timeout": 300}}']
[service.vllm.environment]
VLLM_SERVER_DEV_MODE = "1"
[service.vllm.recovery]
poll_seconds = 1
hang_seconds = 5
canary_seconds = 5
canary_every_seconds = 5
"""


@pytest.fixture(scope="module")
def agent(boot_for_module: Boot) -> Agent:
    """Returns a machine whose agent was told to serve with vLLM 0.33."""
    parts = [binds.vllm(), binds.vllm_033(), binds.models()]
    agent = Agent(boot_for_module("bookworm", binds=parts, memory_limit=4 * GIB))
    agent.install()
    agent.box.write(CONFIG, ASKED)
    return agent


@pytest.fixture(scope="module")
def served(agent: Agent) -> dict[str, Any]:
    """Returns the status once the service serves."""
    agent.box.run(["systemctl", "reload", "llmagent"])
    return agent.wait("serving", seconds=START_SECONDS)


def test_flags_that_only_this_release_has_are_known_by_asking_it(agent: Agent) -> None:
    good = agent.box.run(["llmagent", "check"], check=False, timeout=START_SECONDS)
    assert good.returncode == 0, good.stdout
    agent.box.write("/root/wrong.toml", ASKED.replace("--watchdog-config", "--watchdogs-config"))
    wrong = agent.box.run(["llmagent", "check", "/root/wrong.toml"], check=False, timeout=120)
    assert wrong.returncode == 2
    assert "did you mean --watchdog-config?" in wrong.stdout


def test_what_was_asked_is_proven(agent: Agent, served: dict[str, Any]) -> None:
    assert agent.box.http_get(8000, "/version").json() == {"version": "0.33.0+cpu"}
    checks = {check["item"]: check["verdict"] for check in served["verification"]}
    for item in ("kv_cache_dtype", "max_model_len", "model", "completion", "prefix_cache_hits"):
        assert checks[item] == "proven", checks
    assert {"imports", "weights", "server"} <= served["start_stage_seconds"].keys()


def test_a_paused_engine_is_told_and_left_alone(agent: Agent, served: dict[str, Any]) -> None:
    """Since 0.33 a pause refuses requests with 503, where 0.32 queued them."""
    assert agent.box.http_post(8000, "/pause?mode=abort", {}).status == 200
    agent.box.wait_for(
        lambda: "paused" in agent.status()["hang_detection_off"], 60, "the pause to be told"
    )
    asked = {"model": MODEL, "prompt": "hello", "max_tokens": 1}
    assert agent.box.http_post(8000, "/v1/completions", asked).status == 503
    # Longer than hang_seconds and canary_seconds together.
    agent.box.run(["sleep", "15"])
    status = agent.status()
    assert (status["phase"], status["invocation_id"]) == ("serving", served["invocation_id"])
    assert agent.box.http_post(8000, "/resume", {}).status == 200
    agent.box.wait_for(
        lambda: not agent.status()["hang_detection_off"], 60, "the engine to be watched again"
    )


def test_a_killed_engine_is_named_and_a_stop_meanwhile_is_clean(
    agent: Agent, served: dict[str, Any]
) -> None:
    box = agent.box
    box.run(["pkill", "-9", "-f", "VLLM::EngineCore"])
    box.wait_for(lambda: agent.events("failure"), 60, "the failure")
    assert agent.events("failure")[0]["data"]["class"] == "engine-dead"
    box.wait_for(
        lambda: agent.status()["invocation_id"] not in ("", served["invocation_id"]),
        60,
        "the next start",
    )
    box.run(["systemctl", "stop", "vllm.service"], timeout=120)
    assert agent.wait("stopped")["main_pid"] == 0
    assert box.run(["pgrep", "-u", "vllm"], check=False).stdout == ""
