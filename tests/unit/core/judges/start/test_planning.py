# SPDX-License-Identifier: Apache-2.0
"""The plan before the first start, as the daemon acts on it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.core.decide import decide
from agent.core.diagnosis.facts import Facts
from agent.core.failures.classes import EnginePhase
from agent.core.gpu.reading import Driver, Gpu, GpuMemory, Gpus
from agent.core.planner.model import model_of
from agent.core.planner.question import Fit
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.observations import GpusSeen, LogProgress
from agent.core.state.phases import Phase
from agent.core.state.policy import HostPolicy, KnownModel
from agent.host.models.known import known_models
from tests.given.simulated_host import ENGINE, SimulatedHost

GIB = 2**30
AWQ_70B = "hugging-quants/Meta-Llama-3.1-70B-Instruct-AWQ-INT4"
LLAMA_8B = "meta-llama/Llama-3.1-8B-Instruct"


class PlannedHost(SimulatedHost):
    """A host whose model's config.json is known."""

    engine = ENGINE

    @property
    def policy(self) -> HostPolicy:
        engines = dict.fromkeys(self.policies, self.engine)
        models = {
            name: KnownModel(model_of(known_models()[policy.settings.model]))
            for name, policy in self.policies.items()
        }
        return HostPolicy(self.policies, engines, models)


def a_host(model: str, recovery: Recovery | None = None, **settings: Any) -> PlannedHost:
    asked = Settings("vllm", model, **settings)
    host = PlannedHost({"vllm": ServicePolicy(asked, recovery=recovery or Recovery())})
    host.agent_starts()
    return host


def sees(host: PlannedHost, gib: float, cards: int = 1, **changes: Any) -> None:
    """NVML answers: so many cards with so much memory."""
    host.pass_time(1)
    memory = GpuMemory(int(gib * GIB), 0, int((gib - 0.4) * GIB))
    gpus = tuple(
        replace(Gpu(i, f"GPU-{i}", "a card", memory=memory), **changes) for i in range(cards)
    )
    driver = Driver("580.82.07", "580.82.07", "580.82.07", "13.0")
    host.observe(GpusSeen(host.now, Gpus(host.now, gpus, driver)))
    host.carry_out()


def test_a_70b_model_on_one_card_of_24_gb_is_held_with_the_arithmetic_and_never_tried() -> None:
    host = a_host(AWQ_70B, kv_cache_dtype="fp8", max_model_len=8192)
    sees(host, 23.5)
    host.pass_time(30)
    service = host.service()
    assert service.phase is Phase.HELD
    assert "the weights take 37" in service.reason
    assert "GPUs" in service.what_to_do
    assert not host.starts


def test_it_goes_on_by_itself_when_a_card_that_holds_it_is_there() -> None:
    host = a_host(AWQ_70B, kv_cache_dtype="fp8", max_model_len=8192)
    sees(host, 23.5)
    host.pass_time(30)
    sees(host, 47.4)
    assert host.service().phase is Phase.STARTING


def test_a_build_for_the_cpu_is_not_planned_on_the_cards_of_its_host() -> None:
    host = a_host(AWQ_70B, kv_cache_dtype="fp8", max_model_len=8192)
    host.engine = replace(ENGINE, runs_on_cpu=True)
    sees(host, 23.5)
    assert host.service().phase is Phase.STARTING
    assert not any(line.kind == "plan" for line in host.history)


def test_try_anyway_starts_it_all_the_same() -> None:
    host = a_host(AWQ_70B, Recovery(try_anyway=True), max_model_len=8192)
    sees(host, 23.5)
    assert host.service().phase is Phase.STARTING
    plan = next(line for line in host.history if line.kind == "plan")
    assert "does not fit" in plan.message


def test_what_recovery_could_make_fit_is_started() -> None:
    # 131072 tokens do not fit beside 15 GiB of weights; vLLM's own figure shortens them
    host = a_host(LLAMA_8B)
    sees(host, 23.5)
    assert host.service().phase is Phase.STARTING
    plan = next(line for line in host.history if line.kind == "plan")
    assert "if it fails: max_model_len = " in plan.message


def test_a_plan_is_told_once() -> None:
    host = a_host(LLAMA_8B, max_model_len=8192)
    for _ in range(5):
        sees(host, 23.5)
        host.pass_time(2)
    assert sum(line.kind == "plan" for line in host.history) == 1


def test_without_a_look_at_the_gpus_the_start_waits_a_moment_and_goes_on() -> None:
    host = a_host(LLAMA_8B, max_model_len=8192)
    host.carry_out()
    assert host.service().phase is Phase.WAITING
    assert "look at its GPUs" in host.service().live.blocked_by
    host.pass_time(10)
    assert host.starts


def test_where_nvml_does_not_work_nothing_waits_and_nothing_is_held() -> None:
    host = a_host(AWQ_70B, max_model_len=8192)
    host.pass_time(1)
    driver = Driver(problem="libnvidia-ml.so.1 is not installed")
    host.observe(GpusSeen(host.now, Gpus(host.now, (), driver)))
    assert host.service().phase is Phase.STARTING


def test_unified_memory_and_too_few_cards_are_not_planned() -> None:
    for cards, changes in ((1, {"memory_unified": True}), (0, {})):
        host = a_host(AWQ_70B, max_model_len=8192)
        sees(host, 23.5, cards, **changes)
        assert host.service().phase is Phase.STARTING


def test_weights_that_go_to_the_host_are_planned_without() -> None:
    host = a_host(AWQ_70B, max_model_len=8192, extra_args=("--cpu-offload-gb=20",))
    sees(host, 23.5)
    assert host.service().phase is Phase.STARTING
    host = a_host(AWQ_70B, max_model_len=8192, extra_args=("--cpu-offload-gb", "2"))
    sees(host, 23.5)
    assert host.service().phase is Phase.HELD


def test_an_option_that_is_not_reckoned_with_is_named_and_nothing_is_held() -> None:
    for words in (("--enable-eplb",), ("--offload-group-size=4",), ("--brand-new", "1")):
        host = a_host(AWQ_70B, max_model_len=8192, extra_args=words)
        sees(host, 23.5)
        assert host.service().phase is Phase.STARTING
        planned = host.service().planned
        assert planned is not None
        assert planned.verdict is Fit.NOT_KNOWN
        assert words[0].split("=")[0] in planned.reason


def test_what_extra_args_add_counts_against_the_card() -> None:
    room: dict[str, Any] = {"max_model_len": 8192, "gpu_memory_utilization": 0.97}
    host = a_host(LLAMA_8B, **room)
    sees(host, 23.5)
    assert host.service().phase is Phase.STARTING
    adapters = ("--enable-lora", "--max-loras", "8", "--max-lora-rank", "256")
    host = a_host(LLAMA_8B, **room, extra_args=adapters)
    sees(host, 23.5)
    assert host.service().phase is Phase.HELD
    host = a_host(LLAMA_8B, **room, extra_args=("-dp", "2"))
    sees(host, 23.5)
    assert host.service().planned is None


def test_the_operator_who_starts_a_held_service_is_obeyed() -> None:
    host = a_host(AWQ_70B, max_model_len=8192)
    sees(host, 23.5)
    host.pass_time(10)
    host.operator_starts()
    host.pass_time(5)
    assert host.service().phase in (Phase.STARTING, Phase.VERIFYING)
    assert host.service().held is None


@pytest.mark.parametrize(
    ("first", "then", "kept"),
    [("compiled", "from the cache", 5.0), ("from the cache", "compiled", 4.0), (None, None, 4.0)],
)
def test_a_start_from_the_cache_takes_the_place_of_one_that_compiled(
    first: str | None, then: str | None, kept: float
) -> None:
    host = a_host(LLAMA_8B, max_model_len=8192)
    sees(host, 23.5)
    for kv_gib, compiled_graphs in ((4.0, first), (5.0, then)):
        assert host.serving_within(120)
        facts = Facts(available_kv_gib=kv_gib, compiled_graphs=compiled_graphs)
        invocation = host.runs["vllm"].invocation
        host.observe(
            LogProgress(host.now, "vllm", invocation, EnginePhase.SERVING, 99, None, facts)
        )
        host.operator_stops()
        host.pass_time(10)
        host.operator_starts()
    proven = host.service().proven
    assert proven is not None
    assert proven.available_kv_gib == kept


def test_what_another_release_of_the_engine_prints_takes_the_place_of_what_is_known() -> None:
    host = a_host(LLAMA_8B, max_model_len=8192)
    sees(host, 23.5)
    for kv_gib, release in ((4.0, "0.22.0"), (5.0, "0.22.0"), (3.5, "0.28.0")):
        host.engine = replace(ENGINE, version=release)
        assert host.serving_within(120)
        facts, invocation = Facts(available_kv_gib=kv_gib), host.runs["vllm"].invocation
        host.observe(
            LogProgress(host.now, "vllm", invocation, EnginePhase.SERVING, 99, None, facts)
        )
        proven = host.service().proven
        assert proven is not None
        assert proven.available_kv_gib == (3.5 if release == "0.28.0" else 4.0)
        host.operator_stops()
        host.pass_time(10)
        host.operator_starts()


def test_what_served_is_remembered_and_not_planned_again() -> None:
    host = a_host(LLAMA_8B, max_model_len=8192)
    sees(host, 23.5)
    assert host.serving_within(120)
    run = host.runs["vllm"]
    facts = Facts(weights_gib=14.99, available_kv_gib=4.2, cuda_graph_gib=0.5)
    host.observe(
        LogProgress(host.now, "vllm", run.invocation, EnginePhase.SERVING, 99, None, facts)
    )
    proven = host.service().proven
    assert proven is not None
    assert (proven.weights_gib, proven.available_kv_gib) == (14.99, 4.2)
    # a card that shrank would fail the plan, but these settings are known to serve
    host.operator_stops()
    host.reboots()
    sees(host, 12.0)
    host.pass_time(10)
    assert host.service().phase is not Phase.HELD


def test_other_settings_are_planned_with_what_was_printed_here() -> None:
    """vLLM left 1.2 GiB less than planned: a longer request is planned with that much less."""
    host = a_host(LLAMA_8B, max_model_len=8192, enforce_eager=True)
    sees(host, 23.5)
    assert host.serving_within(120)
    fresh = a_host(LLAMA_8B, max_model_len=16384, enforce_eager=True)
    sees(fresh, 23.5)
    untaught = fresh.service().planned
    facts = Facts(weights_gib=15.5, available_kv_gib=4.0)
    run = host.runs["vllm"]
    host.observe(
        LogProgress(host.now, "vllm", run.invocation, EnginePhase.SERVING, 99, None, facts)
    )
    asked = replace(host.policies["vllm"].settings, max_model_len=16384)
    host.policies = {"vllm": replace(host.policies["vllm"], settings=asked)}
    host.reboots()
    sees(host, 23.5)
    taught = host.service().planned
    assert untaught is not None
    assert taught is not None
    assert "measured here on" in taught.reason
    assert "4.00 GiB for the KV cache" in taught.reason
    assert "measured" not in untaught.reason


def test_planning_is_pure() -> None:
    host = a_host(AWQ_70B, max_model_len=8192)
    memory = GpuMemory(int(23.5 * GIB), 0, 0)
    seen = GpusSeen(host.now, Gpus(host.now, (Gpu(0, "GPU-0", memory=memory),)))
    first, second = (decide(host.state, seen, host.policy) for _ in range(2))
    assert first == second
