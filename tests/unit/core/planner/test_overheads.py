# SPDX-License-Identifier: Apache-2.0
"""What a start takes beside weights and cache, by card, format and release."""

import pytest

from agent.core.planner.model import Model, model_of
from agent.core.planner.plan import make_plan
from agent.core.planner.question import Fit, PlanRequest
from agent.core.planner.terms.graphs import cuda_graphs
from agent.core.planner.versions import version_of
from agent.host.models.known import known_config


def _model(name: str) -> Model:
    config = known_config(name)
    assert config is not None
    return model_of(config)


def test_two_machines_with_unified_memory_have_no_buffers_of_nvlink() -> None:
    llama = _model("meta-llama/Llama-3.1-8B-Instruct")
    spark, hopper = (
        make_plan(llama, PlanRequest(gib, gpu_name=name, tensor_parallel_size=2))
        for gib, name in ((121.7, "NVIDIA GB10"), (139.8, "NVIDIA H200"))
    )
    shared = 1.6
    assert spark.non_torch.gib - shared < hopper.non_torch.gib - 0.5


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("RedHatAI/Qwen3.6-35B-A3B-NVFP4", 2.0),
        ("nvidia/Qwen3.6-35B-A3B-NVFP4", 2.0),
        ("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-NVFP4", 0.0),
        ("Qwen/Qwen3.6-35B-A3B-FP8", 0.0),
    ],
)
def test_4_bit_experts_beside_recurrent_layers_keep_more(name: str, more: float) -> None:
    few = PlanRequest(31.84, version_of("0.20.0"), max_num_seqs=1, max_num_batched_tokens=1024)
    plan = make_plan(_model(name), few)
    words = "4-bit experts beside recurrent layers"
    assert (words in plan.activation.how) is bool(more)
    assert plan.activation.gib >= more


def test_a_start_that_fills_what_a_neighbour_leaves_is_tight() -> None:
    llama = _model("meta-llama/Llama-3.1-8B-Instruct")
    asked = {"max_model_len": 4096, "gpu_memory_utilization": 0.5}
    beside = make_plan(llama, PlanRequest(79.2, free_gib=39.8, **asked))  # type: ignore[arg-type]
    roomy = make_plan(llama, PlanRequest(79.2, free_gib=41.0, **asked))  # type: ignore[arg-type]
    assert (beside.verdict, roomy.verdict) == (Fit.TIGHT, Fit.FITS)


def test_graphs_that_may_be_left_out_have_a_wide_error() -> None:
    llama = _model("Qwen/Qwen3-32B")
    sure, unsure = (
        cuda_graphs(llama, 256, version_of(version), enforce_eager=False)
        for version in ("0.29.0", "0.28.0")
    )
    assert sure.gib == unsure.gib
    assert unsure.error_gib > 1.5 * sure.error_gib
