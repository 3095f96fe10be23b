# SPDX-License-Identifier: Apache-2.0
"""What a start takes beside weights and cache, by card, format and release."""

from dataclasses import replace

import pytest

from agent.core.planner.asked.ask import Asked
from agent.core.planner.model import Model, model_of
from agent.core.planner.overheads import non_torch
from agent.core.planner.plan import make_plan
from agent.core.planner.question import Fit, PlanRequest
from agent.core.planner.terms.compiled import left_behind
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


def test_the_first_new_runners_leave_graphs_out_of_the_share() -> None:
    shared = {"gpu_memory_utilization": 0.9, "max_model_len": 8192}
    qwen = _model("Qwen/Qwen3-32B")
    before, first, later = (
        make_plan(qwen, PlanRequest(94.97, version_of(version), **shared))  # type: ignore[arg-type]
        for version in ("0.22.0", "0.28.0", "0.29.0")
    )
    assert (before.graphs_inside, first.graphs_inside, later.graphs_inside) == (True, False, True)
    assert before.cuda_graphs == first.cuda_graphs == later.cuda_graphs
    experts = make_plan(_model("Qwen/Qwen3-30B-A3B"), PlanRequest(94.97, version_of("0.28.0")))
    assert experts.graphs_inside


def test_what_the_first_new_runners_sample_later_lies_beyond_the_share_too() -> None:
    """Of an L4 at 0.92, 256 sequences of a small Gemma took more than was left (0.26)."""
    gemma = _model("google/gemma-4-E4B-it")
    few, many, later = (
        make_plan(
            gemma,
            PlanRequest(22.04, version_of(version), max_model_len=8192, max_num_seqs=sequences),
        )
        for version, sequences in (("0.26.0", 16), ("0.26.0", 256), ("0.29.0", 256))
    )
    assert many.sampled_later_gib == pytest.approx(0.5)
    assert later.sampled_later_gib == 0
    assert (few.verdict, many.verdict) == (Fit.FITS, Fit.TIGHT)
    assert "sampling 0.50" in many.reason


def test_the_first_new_runners_take_as_much_for_many_sequences_as_for_few() -> None:
    qwen, version = _model("Qwen/Qwen3-8B"), version_of("0.28.0")
    few, many = (
        make_plan(qwen, PlanRequest(79.2, version, max_num_seqs=most, max_num_batched_tokens=8192))
        for most in (8, 1024)
    )
    assert few.available_kv_gib == many.available_kv_gib


def test_a_cold_compile_takes_more_of_a_larger_model_and_nothing_in_eager_mode() -> None:
    version = version_of("0.26.0")
    names = ("Qwen/Qwen2.5-0.5B-Instruct", "Qwen/Qwen3-14B")
    small, large = (left_behind(_model(name), version, 0.3, enforce_eager=False) for name in names)
    assert small is not None
    assert large is not None
    assert 0.3 < small.gib < 0.7
    assert 0.9 < large.gib < 1.4
    eager = left_behind(_model("Qwen/Qwen3-14B"), version_of("0.26.0"), 0.3, enforce_eager=True)
    assert eager is None


def test_a_cold_compile_shows_where_no_sampler_hides_it() -> None:
    qwen, version = _model("Qwen/Qwen2.5-7B-Instruct"), version_of("0.22.0")
    few, many = (left_behind(qwen, version, peak, enforce_eager=False) for peak in (0.3, 0.6))
    assert few is not None
    assert many is not None
    assert few.gib == pytest.approx(many.gib + 0.6)


@pytest.mark.parametrize(("version", "counted"), [("0.7.3", 0), ("0.8.5", 0.45), ("0.9.0", 0)])
def test_the_context_counts_in_the_first_v1_alone(version: str, counted: float) -> None:
    card = PlanRequest(23.5).device
    own = non_torch(1, 1, card, version_of(version)).gib
    assert own == pytest.approx(0.06 + counted)


@pytest.mark.parametrize(
    ("version", "utilization", "verdict"),
    [("0.11.0", 0.95, Fit.TIGHT), ("0.11.0", 0.9, Fit.FITS), ("0.20.0", 0.95, Fit.FITS)],
)
def test_images_tear_the_blocks_beside_the_share(
    version: str, utilization: float, verdict: Fit
) -> None:
    asked = PlanRequest(
        79.1,
        version_of(version),
        gpu_name="NVIDIA A100-SXM4-80GB",
        gpu_memory_utilization=utilization,
        max_model_len=65536,
    )
    assert make_plan(_model("Qwen/Qwen3-VL-30B-A3B-Instruct"), asked).verdict is verdict


def test_compiling_takes_more_where_all_that_the_device_misses_counts() -> None:
    qwen = _model("Qwen/Qwen3-14B")
    before, after = (
        left_behind(qwen, version_of(version), 0.3, enforce_eager=False)
        for version in ("0.26.0", "0.28.0")
    )
    eager = left_behind(qwen, version_of("0.28.0"), 0.3, enforce_eager=True)
    assert before is not None
    assert after is not None
    assert eager is not None
    assert after.gib > before.gib + 0.3
    assert eager.gib < 0.2


def test_pages_of_documents_peak_as_large_images_do_whatever_the_context() -> None:
    # An RTX 3090 printed 4.4 GiB beside the weights (0.12).
    dots, version = _model("rednote-hilab/dots.ocr"), version_of("0.12.0")
    short, long = (
        make_plan(dots, PlanRequest(23.57, version, max_model_len=most, max_num_seqs=8))
        for most in (8192, 131072)
    )
    assert short.activation == long.activation
    assert 2.9 < short.activation.gib < 5.9


def test_a_geforce_of_the_50s_keeps_more_of_what_samples_and_nothing_of_an_embedder() -> None:
    """A home server's RTX 5090: 14B and an embedder of one writer (0.28)."""

    def kept(name: str, card: str, version: str = "0.28.0") -> float:
        found = left_behind(
            _model(name), version_of(version), 0.3, enforce_eager=False, card=f"NVIDIA {card}"
        )
        assert found is not None
        return found.gib

    new, old = "GeForce RTX 5090", "GeForce RTX 4090"
    assert kept("Qwen/Qwen3-14B", new) > kept("Qwen/Qwen3-14B", old) + 1
    assert kept("Qwen/Qwen3-14B", new, "0.29.0") == kept("Qwen/Qwen3-14B", old, "0.29.0")
    assert kept("Qwen/Qwen3-Embedding-0.6B", new) == kept("Qwen/Qwen3-Embedding-0.6B", old)


def test_checking_drafts_takes_more_than_sampling_where_sequences_are_many() -> None:
    """Qwen3.5-9B on an RTX 5090 with MTP: 41,184 tokens, 53,328 without (0.20)."""
    hybrid, version = _model("Qwen/Qwen3.5-9B"), version_of("0.20.0")
    request = PlanRequest(31.36, version, gpu_memory_utilization=0.85, max_model_len=4096)
    drafting = replace(request, asked=Asked(draft_tokens=1))
    alone, checked = (make_plan(hybrid, asked).activation for asked in (request, drafting))
    assert "26 bytes" in checked.how
    assert 0.1 < checked.gib - alone.gib < 0.8
    few = replace(drafting, max_num_seqs=2)
    less = replace(request, max_num_seqs=2)
    assert make_plan(hybrid, few).activation == make_plan(hybrid, less).activation
