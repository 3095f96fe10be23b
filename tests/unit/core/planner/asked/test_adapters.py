# SPDX-License-Identifier: Apache-2.0
"""Room for adapters: of which matrices, and where vLLM refuses it."""

from dataclasses import replace

import pytest

from agent.core.command.picture import picture_of_line
from agent.core.planner.asked.reading import Ground, request_of
from agent.core.planner.model import Model, model_of
from agent.core.planner.plan import make_plan
from agent.core.planner.question import Plan, PlanRequest
from agent.core.planner.versions import version_of
from agent.host.models.known import known_models

WIDE = 262144
FOUR = ("--enable-lora", "--max-lora-rank", "16", "--max-loras", "4")


def _plan(model: Model, *, unified: bool = False) -> Plan:
    ground = Ground(PlanRequest(121.69, version_of("0.25.0"), memory_unified=unified))
    return make_plan(model, request_of(picture_of_line(["m", *FOUR]), model, ground))


def _named(name: str) -> Model:
    return model_of(known_models()[name])


@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("google/gemma-3-27b-it", False),
        ("google/gemma-4-26B-A4B-it", False),
        ("Qwen/Qwen2.5-7B-Instruct", False),
        ("Qwen/Qwen3-8B", True),
        ("meta-llama/Llama-3.1-8B-Instruct", True),
    ],
)
def test_a_wide_head_is_refused_where_it_takes_adapters(name: str, refused: bool) -> None:
    found = _plan(replace(_named(name), vocab_size=WIDE))
    assert ("LoRA takes a vocabulary" in found.refusal) is refused


def test_adapters_of_experts_are_loaded_with_the_weights() -> None:
    # "Model loading took 53.62 GiB" with these options, 48.5 without adapters.
    found = _plan(_named("google/gemma-4-26B-A4B-it"))
    assert found.weights.gib == pytest.approx(48.5, abs=0.1)
    assert found.loaded_gib == pytest.approx(53.62, rel=0.02)


def test_the_profiling_runs_adapters_lie_in_the_hosts_memory() -> None:
    gemma = _named("google/gemma-4-26B-A4B-it")
    names = [item.name for item in _plan(gemma, unified=True).request.asked.beside]
    assert "made_up_adapters" in names
    assert "made_up_adapters" not in [x.name for x in _plan(gemma).request.asked.beside]
