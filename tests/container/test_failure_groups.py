# SPDX-License-Identifier: Apache-2.0
"""One failure of each group in the manual on real systemd: class, remedy, unit, metrics, events.

What a card's memory decides, the scripted engine computes as vLLM does; the rest it prints in words
of our own. Free memory, the KV cache, a dead or hung engine, a mistake in the arguments and a crash
that nobody knows are in test_daemon.py, what only the kernel says (Xid) in test_power_and_heat.py,
what a real hub does in test_downloads.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.rig import scripted
from tests.rig.installed import OURS, Agent, service_table

CARD: dict[str, object] = {"total_gib": 24.0, "free_gib": 23.5}


def fails(line: str, at: str = "load") -> dict[str, object]:
    return {"fail_at": at, "fail_lines": [line]}


def is_told(agent: Agent, failure: str, kind: str) -> dict[str, Any]:
    """Checks that history and metrics name the class; returns the last event of the kind."""
    classes = [event["data"]["class"] for event in agent.events("failure")]
    assert failure in classes, classes
    last: dict[str, Any] = agent.events(kind)[-1]
    assert failure in last["message"], last
    return last


def restarts_are_counted(agent: Agent, failure: str, times: int = 1) -> None:
    assert agent.status()["restarts"] == {failure: times}
    counted = f'llmagent_service_restarts_total{{class="{failure}",service="vllm"}} {times:.1f}'
    assert counted in agent.metrics()


CHANGED: dict[str, tuple[list[dict[str, object]], dict[str, Any], tuple[str, object]]] = {
    "oom-sampler-warmup": (
        [CARD | {"sampler_gib_per_seq": 0.02}],
        {"max_num_seqs": 256},
        ("max_num_seqs", 64),
    ),
    "oom-graph-capture": (
        [CARD | {"graph_gib": 4.0}],
        {},
        ("gpu_memory_utilization", None),
    ),
    "mamba-blocks-too-few": (
        [
            fails(
                "ValueError: max_num_seqs (256) exceeds available Mamba cache blocks (24). "
                "Each sequence needs one."
            ),
            {},
        ],
        {"max_num_seqs": 256},
        ("max_num_seqs", 24),
    ),
}
"""Scenarios, settings, and the setting that is changed, to which value where one is the only."""


@pytest.mark.parametrize("failure", CHANGED)
def test_what_other_settings_cure_runs_with_other_settings(agent: Agent, failure: str) -> None:
    scenario, asked, (setting, value) = CHANGED[failure]
    scripted.set_scenario(agent.box, *scenario)
    agent.configure(service_table(**OURS | asked))
    learned = agent.wait("serving")["overrides"][setting]
    assert value in (None, learned["running"])
    assert learned["running"] != learned["asked"] == (OURS | asked).get(setting)
    is_told(agent, failure, "learned")
    flag = f"--{setting.replace('_', '-')}"
    assert f"{flag}={learned['running']}" in agent.box.run(["systemctl", "cat", "vllm"]).stdout
    assert scripted.starts(agent.box)[-1].value(flag) == str(learned["running"])
    restarts_are_counted(agent, failure)
    assert "llmagent_service_learned_settings" in agent.metrics()


HELD: dict[str, dict[str, object]] = {
    "oom-weights-load": CARD | {"weights_gib": 30.0},
    "cuda-not-initialized-802": fails(
        "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 802: system not yet "
        "initialized"
    ),
    "no-kernel-image": fails(
        "torch.AcceleratorError: CUDA error: no kernel image is available for execution"
    ),
    "gated-repo": fails(
        "Cannot access gated repo for url https://huggingface.co/some/model/config.json.", "import"
    ),
    "fd-limit": fails("OSError: [Errno 24] Too many open files: 'model.safetensors'"),
    "weights-corrupt": fails(
        "safetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge"
    ),
    "quant-unsupported-device": fails(
        "ValueError: The quantization method fp8 is not supported for the current GPU. Minimum "
        "capability: 89. Current capability: 80.",
        "import",
    ),
    "no-c-compiler": fails("RuntimeError: Failed to find C compiler.", "compile"),
}


@pytest.mark.parametrize("failure", HELD)
def test_what_only_a_person_can_cure_is_held_after_one_start(agent: Agent, failure: str) -> None:
    scripted.set_scenario(agent.box, HELD[failure])
    agent.configure(service_table(**OURS))
    status = agent.wait("held")
    assert status["failure"]["class"] == failure
    held = is_told(agent, failure, "held")
    assert status["held"]["what_to_do"] in held["message"]
    assert len(scripted.starts(agent.box)) == 1
    agent.box.wait_for(
        lambda: agent.box.show("vllm", "ActiveState")["ActiveState"] == "inactive", 10, "its stop"
    )
    assert 'llmagent_service_held{service="vllm"} 1.0' in agent.metrics()
    assert status["overrides"] == {}


RETRIED = {
    "mem-profiling-race": (
        "AssertionError: Error in memory profiling. Initial free memory 20.1 GiB, current free "
        "memory 22.4 GiB."
    ),
    "host-oom-killed": "RuntimeError: DefaultCPUAllocator: can't allocate memory: 1 GiB",
    "nccl-error": "ncclSystemError: System call (e.g. socket, malloc) or external library failed",
    "hub-unreachable": (
        "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='huggingface.co', port=443)"
        ": Max retries exceeded with url: /x (Caused by NameResolutionError('no name'))"
    ),
    "port-in-use": "OSError: [Errno 98] Address already in use",
}


@pytest.mark.parametrize("failure", RETRIED)
def test_what_a_new_start_may_cure_is_started_as_it_was(agent: Agent, failure: str) -> None:
    bad = fails(RETRIED[failure])
    scripted.set_scenario(agent.box, bad, bad, {})
    agent.configure(service_table(**OURS))
    assert agent.wait("serving")["overrides"] == {}
    is_told(agent, failure, "remedy")
    restarts_are_counted(agent, failure, times=2)
    assert len({start.argv for start in scripted.starts(agent.box)}) == 1
    assert 'llmagent_service_held{service="vllm"} 0.0' in agent.metrics()


def came_back(agent: Agent, before: int) -> dict[str, Any]:
    agent.box.wait_for(lambda: agent.pid("vllm") not in (0, before), 40, "a new process")
    return agent.wait("serving")


def test_a_worker_that_is_gone_is_brought_back_as_it_was(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {"death_seconds": 0.2})
    agent.configure(service_table(**OURS))
    before = agent.wait("serving")["main_pid"]
    scripted.cue(agent.box, "worker-dead")
    status = came_back(agent, before)
    assert status["overrides"] == {}


def test_memory_that_runs_out_while_serving_costs_one_step(agent: Agent) -> None:
    scripted.set_scenario(agent.box, CARD | {"death_seconds": 0.2})
    agent.configure(service_table(**OURS))
    before = agent.wait("serving")["main_pid"]
    scripted.cue(agent.box, "oom-runtime")
    learned = came_back(agent, before)["overrides"]["gpu_memory_utilization"]
    assert learned["running"] == 0.88
    is_told(agent, "oom-runtime", "learned")
    restarts_are_counted(agent, "oom-runtime")
    assert scripted.starts(agent.box)[-1].value("--gpu-memory-utilization") == "0.88"


def test_a_cuda_fault_that_comes_again_costs_the_graphs(agent: Agent) -> None:
    error = "torch.AcceleratorError: CUDA error: an illegal memory access was encountered"
    said = f"(EngineCore pid=2) ERROR 11-29 10:00:00 [core.py:1291] {error}"
    lines = {"after": 0.1, "cue": "lines", "lines": [said]}
    dies = {"death_seconds": 0.1, "cues": [lines, {"after": 3.0, "cue": "engine-dead"}]}
    scripted.set_scenario(agent.box, dies, dies, {})
    agent.configure(service_table(**OURS))
    agent.box.wait_for(lambda: len(scripted.starts(agent.box)) == 3, 40, "the third start")
    learned = agent.wait("serving")["overrides"]["enforce_eager"]
    assert learned["running"] is True
    restarts_are_counted(agent, "cuda-illegal-memory-access", times=2)
    assert "--enforce-eager" in scripted.starts(agent.box)[-1].argv
    assert "--enforce-eager" not in scripted.starts(agent.box)[-2].argv


def test_a_start_that_stalls_is_killed_and_made_anew(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {"stall_at": "load"}, {})
    agent.configure(service_table(**OURS, recovery="load_stall_seconds = 2\n"))
    agent.wait("serving")
    is_told(agent, "start-stalled", "kill")
    restarts_are_counted(agent, "start-stalled")


def test_a_stop_from_outside_is_no_failure_of_vllm_but_it_is_brought_back(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {})
    agent.configure(service_table(**OURS))
    before = agent.wait("serving")["main_pid"]
    agent.box.run(["kill", "-TERM", str(before)])
    status = came_back(agent, before)
    assert status["overrides"] == {}
    assert status["restarts"] == {"engine-dead": 1}


def test_a_fallback_is_served_and_told(agent: Agent) -> None:
    scripted.set_scenario(agent.box, {"kernel": "ConchLinearKernel for AutoAWQMarlinLinearMethod"})
    expect = '[service.vllm.expect]\nlinear_kernel = "marlin"\n'
    agent.configure(service_table(**OURS, quantization="awq_marlin"), expect)
    status = agent.wait("serving")
    assert status["restarts"] == {}
    kernel = [check for check in status["verification"] if check["item"] == "linear_kernel"]
    assert [check["verdict"] for check in kernel] == ["contradicted"]
    assert "linear_kernel: asked marlin" in agent.events("mismatch")[-1]["message"]
