# SPDX-License-Identifier: Apache-2.0
"""A pipeline of GPUs: which stage is the fullest, and what a start checks each of them for."""

from dataclasses import replace

import pytest

from agent.core.planner.kv import fullest_stage, holds_embeddings
from agent.core.planner.layers import Feed
from agent.core.planner.model import Model, model_of
from agent.core.planner.plan import make_plan
from agent.core.planner.question import Fit, PlanRequest
from agent.core.planner.versions import version_of
from agent.host.models.known import known_config


def _model(name: str) -> Model:
    config = known_config(name)
    assert config is not None
    return model_of(config)


GLM = _model("zai-org/GLM-4.7-FP8")
EIGHT = PlanRequest(
    79.25,
    version_of("0.16.0"),
    pipeline_parallel_size=8,
    gpu_memory_utilization=0.925,
    max_num_seqs=128,
)


def test_the_fullest_stage_holds_the_most_experts() -> None:
    # 92 layers on eight: 11 on the first three and the last, 12 between; three are dense.
    stage = fullest_stage(GLM, 8)
    assert len(stage) == 12
    assert all(layer.feed is Feed.EXPERTS for layer in stage)
    assert not holds_embeddings(GLM, 8)
    assert len(fullest_stage(GLM, 1)) == len(GLM.layers)
    assert holds_embeddings(GLM, 1)


@pytest.mark.parametrize(("layers", "stages", "most"), [(32, 2, 16), (33, 2, 17), (35, 4, 9)])
def test_the_layers_of_a_dense_model_are_dealt_out_before_the_last_stage(
    layers: int, stages: int, most: int
) -> None:
    llama = _model("meta-llama/Llama-3.1-8B")
    dealt = replace(llama, layers=llama.layers[:1] * layers)
    assert len(fullest_stage(dealt, stages)) == most


@pytest.mark.parametrize(
    ("version", "asked_of_each"),
    [("0.13.0", 9.28), ("0.14.0", 71.16), ("0.16.0", 71.16), ("0.17.0", 9.28)],
)
def test_each_stage_was_checked_for_the_whole_model_once(
    version: str, asked_of_each: float
) -> None:
    # As vLLM said it of eight A100: 71.16 GiB needed, 28.57 GiB available.
    plan = make_plan(GLM, replace(EIGHT, version=version_of(version)))
    assert plan.needed_kv_gib == pytest.approx(asked_of_each, abs=0.01)
    assert (plan.verdict is Fit.DOES_NOT_FIT) is (asked_of_each > 50)
    assert plan.weights.gib == pytest.approx(44.0, abs=0.3)
