# SPDX-License-Identifier: Apache-2.0
"""What each kind of drafter takes beside the model that it drafts for."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from agent.core.command.picture import picture_of_line
from agent.core.planner.asked.reading import Ground, request_of
from agent.core.planner.asked.speculation import Draft
from agent.core.planner.model import Model, model_of
from agent.core.planner.plan import make_plan
from agent.core.planner.question import Measured, Plan, PlanRequest
from agent.host.models.known import known_config

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
MEDUSA = {
    "architectures": ["MedusaModel"],
    "model_type": "medusa",
    "hidden_size": 4096,
    "vocab_size": 128256,
    "num_heads": 4,
    "num_hidden_layers": 1,
}
DFLASH: dict[str, Any] = {
    "architectures": ["DFlashDraftModel"],
    "model_type": "qwen3",
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "num_hidden_layers": 5,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
}


def model(name: str) -> Model:
    config = known_config(name)
    assert config is not None, name
    return model_of(config)


def plan(name: str, line: str, draft: Draft | None = None, **request: Any) -> Plan:
    picture = picture_of_line([name, *shlex.split(line)])
    shape = model(name)
    asked = request_of(picture, shape, Ground(PlanRequest(79.18, **request), draft=draft))
    return make_plan(shape, asked)


def drafter(plan: Plan) -> float:
    return next(x.term.gib for x in plan.request.asked.beside if x.name == "drafter")


def test_medusa_brings_heads_and_keeps_nothing() -> None:
    """Four heads of a square layer and an output head: 2.17 thousand million numbers."""
    alone = plan(LLAMA, "")
    line = "--speculative-config.method medusa --speculative-config.model m"
    found = plan(LLAMA, line, Draft(model_of(MEDUSA)))
    assert drafter(found) == pytest.approx(4 * (4096**2 + 4096 * 128256) * 2 / 2**30)
    assert found.kv.bytes_per_token == alone.kv.bytes_per_token


def test_medusas_files_count_where_they_are_here() -> None:
    line = "--speculative-config.method medusa --speculative-config.model m"
    assert drafter(plan(LLAMA, line, Draft(model_of(MEDUSA), files_gib=1.5))) == 1.5


def test_dflash_brings_layers_that_keep_a_cache_but_no_words() -> None:
    alone = plan("Qwen/Qwen3-8B", "")
    line = "--speculative-config.method dflash --speculative-config.model d"
    found = plan("Qwen/Qwen3-8B", line, Draft(model_of(DFLASH)))
    words = 2 * 151936 * 4096 * 2 / 2**30
    assert drafter(found) < words
    assert found.kv.bytes_per_token == alone.kv.bytes_per_token * 41 / 36


def test_layers_that_draft_are_in_16_bits_in_checkpoints_of_4() -> None:
    """Qwen3.5-122B in NVFP4 prints 70.47 GiB, and 75.17 with its layer that drafts."""
    line = '--speculative-config \'{"method": "mtp", "num_speculative_tokens": 1}\''
    found = plan("Sehyo/Qwen3.5-122B-A10B-NVFP4", line)
    assert drafter(found) == pytest.approx(75.17 - 70.47, rel=0.1)
    half = plan("Qwen/Qwen3.5-122B-A10B-FP8", line)
    assert drafter(half) == pytest.approx(drafter(found) / 2, rel=0.1)


def test_a_drafter_counts_among_the_weights_that_vllm_prints_and_once() -> None:
    line = """--speculative-config '{"method": "mtp", "num_speculative_tokens": 2}'"""
    drafted = plan("Qwen/Qwen3.6-27B", line)
    assert drafted.loaded_gib == pytest.approx(drafted.weights.gib + drafter(drafted))
    # The same start, once vLLM has printed what it loaded: the drafter is in it.
    printed = Measured(weights_gib=drafted.loaded_gib)
    known = plan("Qwen/Qwen3.6-27B", line, measured=printed)
    assert known.loaded_gib == drafted.loaded_gib
    assert known.available_kv_gib == pytest.approx(drafted.available_kv_gib)
