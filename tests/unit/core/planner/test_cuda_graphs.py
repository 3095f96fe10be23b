# SPDX-License-Identifier: Apache-2.0
"""What CUDA graphs take: as many sizes as vLLM captures, of every layer."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.planner.model import Model, model_of
from agent.core.planner.terms.graphs import cuda_graphs, sizes_up_to
from agent.core.planner.versions import version_of
from agent.host.models.known import known_config


def _model(name: str) -> Model:
    config = known_config(name)
    assert config is not None
    return model_of(config)


def _gib(name: str, sequences: int = 256, version: str = "0.28.0") -> float:
    found = cuda_graphs(_model(name), sequences, version_of(version), enforce_eager=False)
    return found.gib


def test_the_sizes_are_those_of_vllm() -> None:
    # "Capturing CUDA graphs": 51 in pieces and 35 whole at 256 sequences, 5 and 4 at 8.
    assert len(sizes_up_to(512)) == 51
    assert len(sizes_up_to(256)) == 35
    assert sizes_up_to(16) == (1, 2, 4, 8, 16)
    assert sizes_up_to(8) == (1, 2, 4, 8)


@pytest.mark.parametrize(
    ("name", "sequences", "printed"),
    [
        ("Qwen/Qwen2.5-32B-Instruct-AWQ", 256, 1.59),
        ("Qwen/Qwen2.5-7B-Instruct", 256, 0.63),
        ("Qwen/Qwen3-4B", 256, 0.61),
        ("meta-llama/Llama-3.1-8B-Instruct", 1024, 0.84),
        ("Qwen/Qwen2.5-0.5B-Instruct", 256, 0.37),
        ("Qwen/Qwen3.6-27B", 1024, 1.55),
        ("google/gemma-4-26B-A4B-it", 2, 0.26),
    ],
)
def test_what_vllm_printed_lies_within_the_error(name: str, sequences: int, printed: float) -> None:
    found = cuda_graphs(_model(name), sequences, version_of("0.28.0"), enforce_eager=False)
    assert found.gib == pytest.approx(printed, abs=found.error_gib)


def test_old_releases_capture_no_batches_that_only_decode() -> None:
    name = "meta-llama/Llama-3.1-8B-Instruct"
    assert _gib(name, version="0.10.2") < _gib(name, version="0.11.0")


def test_a_stage_of_a_pipeline_captures_its_own_layers() -> None:
    model, version = _model("Qwen/Qwen3-32B"), version_of("0.28.0")
    whole = cuda_graphs(model, 256, version, enforce_eager=False)
    half = cuda_graphs(model, 256, version, enforce_eager=False, stages=2)
    shallow = replace(model, layers=model.layers[: len(model.layers) // 2])
    assert half.gib == cuda_graphs(shallow, 256, version, enforce_eager=False).gib < whole.gib


def test_sizes_that_are_asked_for_replace_vllm_s_own() -> None:
    model, version = _model("Qwen/Qwen3-8B"), version_of("0.28.0")
    few = cuda_graphs(model, 256, version, enforce_eager=False, asked=(1, 2, 4))
    assert few.gib < 0.3
    assert cuda_graphs(model, 256, version, enforce_eager=True).gib == 0


@given(st.integers(1, 2048), st.integers(1, 2048))
def test_more_sequences_never_take_fewer_graphs(some: int, others: int) -> None:
    less, more = sorted((some, others))
    assert _gib("Qwen/Qwen3-8B", less) <= _gib("Qwen/Qwen3-8B", more)
