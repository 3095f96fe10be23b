# SPDX-License-Identifier: Apache-2.0
"""What is learned belongs to one model, engine, card and set of flags, and is forgotten without."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.core.gpu.reading import Driver, Gpu, Gpus
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.observations import GpusSeen
from tests.given.simulated_engine import Card
from tests.given.simulated_host import SimulatedHost
from tests.given.some_gpus import GB10, H200

ASKED = Settings("vllm", "/srv/m", gpu_memory_utilization=0.95, max_model_len=8192)

SECOND = replace(H200, uuid="GPU-dd", index=1)


def host_that_learned(*gpus: Gpu) -> SimulatedHost:
    host = SimulatedHost({"vllm": ServicePolicy(ASKED)}, Card(others=3.0))
    host.agent_starts()
    host.carry_out()
    see(host, *gpus)
    assert host.serving_within(300)
    assert host.service().learned.overrides["gpu_memory_utilization"].running == 0.86
    return host


def see(host: SimulatedHost, *gpus: Gpu, problem: str = "") -> None:
    host.observe(GpusSeen(host.now, Gpus(host.now, gpus, Driver(problem=problem))))


def forgotten(host: SimulatedHost) -> list[str]:
    return [line.message for line in host.history if line.kind == "forgotten"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"revision": "abc"}, "revision (unset, now abc)"),
        ({"quantization": "awq"}, "quantization (unset, now awq)"),
        ({"max_num_seqs": 64}, "max_num_seqs (unset, now 64)"),
        ({"gpu_memory_utilization": 0.9}, "gpu_memory_utilization (0.95, now 0.9)"),
        ({"tensor_parallel_size": 2}, "tensor_parallel_size (unset, now 2)"),
        ({"extra_args": ("--seed", "1")}, "extra_args"),
    ],
)
def test_another_setting_forgets_and_the_history_says_which(
    changed: dict[str, Any], said: str
) -> None:
    host = host_that_learned()
    host.policies = {"vllm": ServicePolicy(replace(ASKED, **changed))}
    host.reload()
    assert host.service().learned.overrides == {}
    assert forgotten(host) == [f"gpu_memory_utilization: learned for another {said}"]


@pytest.mark.parametrize("changed", [{"port": 8001}, {"host": "0.0.0.0"}, {"shutdown_timeout": 5}])
def test_what_memory_does_not_depend_on_forgets_nothing(changed: dict[str, Any]) -> None:
    host = host_that_learned()
    host.policies = {"vllm": ServicePolicy(replace(ASKED, **changed))}
    host.reload()
    host.carry_out()
    assert host.serving_within(120)
    assert host.starts[-1][2].gpu_memory_utilization == 0.86


def test_a_secret_in_the_environment_is_not_told() -> None:
    host = host_that_learned()
    secret = replace(ASKED, environment={"TOKEN": "hf_secretsecret"})
    host.policies = {"vllm": ServicePolicy(secret)}
    host.reload()
    assert forgotten(host) == ["gpu_memory_utilization: learned for another environment"]


def test_a_swapped_card_forgets() -> None:
    host = host_that_learned(H200)
    see(host, replace(H200, uuid="GPU-cc"))
    assert host.service().learned.overrides == {}
    assert "GPU-aa, now NVIDIA H200 GPU-cc" in forgotten(host)[0]


def test_a_card_that_nvml_does_not_show_for_a_while_forgets_nothing() -> None:
    host = host_that_learned(H200, SECOND)
    see(host, problem="the driver was not heard")
    host.agent_starts()
    host.pass_time(60)
    see(host, H200, SECOND)
    assert host.service().learned.overrides
    assert forgotten(host) == []


def test_cards_that_show_late_after_a_start_of_the_agent_forget_nothing() -> None:
    host = host_that_learned()
    see(host, H200)
    host.agent_starts()
    see(host, H200)
    assert host.service().learned.overrides
    see(host, GB10)
    assert host.service().learned.overrides == {}


def test_what_was_learned_is_found_again_when_a_card_that_was_away_is_back() -> None:
    host = host_that_learned(H200, SECOND)
    learned = host.service().learned
    see(host, H200)
    assert host.service().learned.overrides == {}
    host.pass_time(30)
    host.agent_starts()
    see(host, H200, SECOND)
    assert host.service().learned.overrides == learned.overrides
    assert host.service().learned.bounds == learned.bounds
    told = [line.message for line in host.history if line.kind == "found"]
    assert told == ["gpu_memory_utilization: learned on these GPUs before, in force again"]


def test_the_order_of_the_cards_does_not_matter() -> None:
    host = host_that_learned(H200, SECOND)
    see(host, replace(SECOND, index=0), replace(H200, index=1))
    assert host.service().learned.overrides
    assert forgotten(host) == []


def test_only_a_few_sets_of_cards_are_remembered() -> None:
    host = host_that_learned(H200)
    for number in range(20):
        see(host, replace(H200, uuid=f"GPU-{number}"))
    assert len(host.service().learned_elsewhere) == 4


def test_another_setting_forgets_what_was_learned_elsewhere_too() -> None:
    host = host_that_learned(H200)
    see(host, SECOND)
    host.policies = {"vllm": ServicePolicy(replace(ASKED, max_num_seqs=64))}
    host.reload()
    see(host, H200)
    assert host.service().learned.overrides == {}
