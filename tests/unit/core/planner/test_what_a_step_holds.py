# SPDX-License-Identifier: Apache-2.0
"""What one step has to hold: blocks of cached states, items that no two steps may share."""

from __future__ import annotations

import shlex

import pytest

from agent.core.command.picture import picture_of_line
from agent.core.planner.advice import advice_for
from agent.core.planner.asked.reading import Ground, request_of
from agent.core.planner.layers import Keeps
from agent.core.planner.model import Model, model_of
from agent.core.planner.plan import make_plan
from agent.core.planner.question import Fit, Plan, PlanRequest
from agent.core.planner.versions import version_of
from agent.host.models.known import known_config, known_models

HYBRID = model_of(known_config("Qwen/Qwen3.5-122B-A10B-GPTQ-Int4") or {})
GEMMA = model_of(known_models()["google/gemma-4-26B-A4B-it"])
SMALL_GEMMA = model_of(known_models()["google/gemma-4-E4B-it"])


def plan(line: str, model: Model, version: str, gib: float = 94.97) -> Plan:
    picture = picture_of_line(["m", "--max-model-len", "8192", *shlex.split(line)])
    return make_plan(
        model, request_of(picture, model, Ground(PlanRequest(gib, version_of(version))))
    )


def test_a_step_shorter_than_a_block_of_cached_states_is_refused() -> None:
    found = plan("--enable-prefix-caching --max-num-batched-tokens 2048", HYBRID, "0.20.2")
    assert found.verdict is Fit.DOES_NOT_FIT
    assert found.reason == (
        "max_num_batched_tokens 2048 is less than the block of 2096 tokens that prefix caching "
        "beside recurrent states needs: give 2096 or more, or --no-enable-prefix-caching"
    )


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("--enable-prefix-caching --max-num-batched-tokens 2096", "0.20.2"),
        ("--no-enable-prefix-caching --max-num-batched-tokens 2048", "0.20.2"),
        ("--max-num-batched-tokens 2048", "0.20.2"),
        ("--enable-prefix-caching --max-num-batched-tokens 2048", "0.15.1"),
    ],
)
def test_a_step_that_holds_a_block_or_that_caches_none_is_not_refused(
    line: str, version: str
) -> None:
    assert plan(line, HYBRID, version).refusal == ""


def test_a_batch_that_nobody_asked_for_is_doubted_only() -> None:
    found = plan("--enable-prefix-caching", HYBRID, "0.20.2", gib=47.4)
    sharded = plan("--enable-prefix-caching -tp 2", HYBRID, "0.20.2", gib=47.4)
    assert "give 2096 or more" in found.doubt
    assert sharded.verdict is Fit.TIGHT
    assert not sharded.refusal


def test_the_unasked_batch_is_raised_to_the_largest_video_of_gemma_4() -> None:
    """Public logs of 0.25.1 and 0.26: 1.2997 GiB a request of 32768 tokens, 2.839 of 65536."""
    assert plan("", GEMMA, "0.25.1", gib=44.39).batch.tokens == 2496
    assert plan("", GEMMA, "0.19.0", gib=44.39).batch.tokens == 2048
    assert plan("", SMALL_GEMMA, "0.29.0", gib=22.0).batch.tokens == 2048
    assert plan("--language-model-only", GEMMA, "0.25.1", gib=44.39).batch.tokens == 2048


def test_a_step_shorter_than_the_largest_video_is_doubted() -> None:
    short = "--max-num-batched-tokens 2048 --quantization fp8"
    assert plan(short, GEMMA, "0.26.0").verdict is Fit.TIGHT
    assert "give 2496 or more" in plan(short, GEMMA, "0.26.0").reason
    without = short + """ --limit-mm-per-prompt '{"video": 0}'"""
    assert plan(without, GEMMA, "0.26.0").verdict is Fit.FITS


def test_the_first_advice_is_the_step_that_holds_it() -> None:
    short = "--max-num-batched-tokens 2048 --quantization fp8"
    told = advice_for(GEMMA, plan(short, GEMMA, "0.26.0"))
    assert told[0].startswith("max_num_batched_tokens = 2496: fits, weights")
    refused = plan("--enable-prefix-caching --max-num-batched-tokens 2048", HYBRID, "0.20.2")
    first, second, *_ = advice_for(HYBRID, refused)
    assert first == "max_num_batched_tokens = 2096, and one of these besides"
    assert second.startswith("max_num_seqs = 192: fits")


def test_a_request_keeps_two_blocks_of_states_since_prefixes_are_cached_in_blocks() -> None:
    """Public logs of 0.16.1, 0.17.1 and 0.18 printed 1.89, 12.91 and 18.23 requests at once."""
    cached = plan("--enable-prefix-caching", HYBRID, "0.17.1")
    plain = plan("", HYBRID, "0.17.1")
    groups = sum(group.count for group in plain.kv.groups if group.keeps is Keeps.STATE)
    assert cached.kv.request_blocks(8192) == plain.kv.request_blocks(8192) + groups
