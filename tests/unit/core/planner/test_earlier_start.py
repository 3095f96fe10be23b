# SPDX-License-Identifier: Apache-2.0
"""What vLLM printed of a start on this host corrects the plan of another one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.core.planner.earlier.start import EarlierStart, plan_after
from agent.core.planner.model import Model, model_of
from agent.core.planner.plan import make_plan, terms
from agent.core.planner.question import Measured, PlanRequest
from agent.core.planner.terms.compiled import compiling
from agent.core.planner.versions import version_of
from agent.host.models.known import known_config

ASKED = PlanRequest(
    23.5,
    version_of("0.22.0"),
    max_model_len=8192,
    gpu_memory_utilization=0.9,
    gpu_name="NVIDIA GeForce RTX 4090",
)


def llama() -> Model:
    config = known_config("meta-llama/Llama-3.1-8B-Instruct")
    assert config is not None
    return model_of(config)


def served(off_gib: float, from_cache: bool | None = None) -> EarlierStart:
    """A start whose KV cache was `off_gib` larger than planned."""
    known = replace(ASKED, measured=Measured(weights_gib=15.2))
    kv_gib = make_plan(llama(), known).available_kv_gib + off_gib
    printed = Measured(15.2, available_kv_gib=kv_gib, from_cache=from_cache)
    return EarlierStart(ASKED, printed, "day")


@pytest.mark.parametrize("off_gib", [-1.2, 0.0, 0.7])
def test_what_the_plan_was_off_it_is_not_off_again(off_gib: float) -> None:
    longer = replace(ASKED, max_model_len=16384, gpu_memory_utilization=0.95)
    plain = make_plan(llama(), replace(longer, measured=Measured(weights_gib=15.2)))
    taught = plan_after(llama(), longer, served(off_gib))
    assert taught.weights.gib == 15.2
    assert taught.available_kv_gib == pytest.approx(plain.available_kv_gib + off_gib)
    assert taught.error_gib < plain.error_gib


def test_the_plan_says_what_was_measured_and_still_adds_up() -> None:
    longer = replace(ASKED, max_model_len=16384)
    taught = plan_after(llama(), longer, served(-0.8))
    assert "measured here on day" in taught.reason
    rows = {str(row["name"]): row for row in terms(taught)}
    assert rows["weights"]["how"] == "measured here on day"
    assert rows["correction"]["gib"] == pytest.approx(0.8)
    total = sum(float(str(row["gib"])) for row in rows.values())
    assert total == pytest.approx(23.5, abs=0.01)


def test_the_more_is_changed_the_wider_is_the_bar() -> None:
    near = plan_after(llama(), replace(ASKED, max_model_len=4096), served(-0.8))
    wide = replace(ASKED, max_num_seqs=1024, max_num_batched_tokens=65536)
    far = plan_after(llama(), wide, served(-0.8))
    assert far.error_gib > near.error_gib


@pytest.mark.parametrize(
    "other",
    [
        {"tensor_parallel_size": 2},
        {"quantization": "fp8"},
        {"version": version_of("0.28.0")},
        {"gpu_memory_gib": 31.4},
        {"gpu_name": "NVIDIA L4"},
    ],
)
def test_another_card_release_or_format_is_planned_anew(other: dict[str, Any]) -> None:
    asked = replace(ASKED, **other)
    assert plan_after(llama(), asked, served(-0.8)) == make_plan(llama(), asked)


def test_a_start_that_printed_no_cache_teaches_the_weights_alone() -> None:
    earlier = EarlierStart(ASKED, Measured(weights_gib=15.2), "day")
    taught = plan_after(llama(), replace(ASKED, max_model_len=4096), earlier)
    assert taught.weights.gib == 15.2
    assert all(row["name"] != "correction" for row in terms(taught))


ANEW = compiling(llama(), ASKED.version).gib


@pytest.mark.parametrize(
    ("from_cache", "changes", "more"),
    [
        (None, {"max_num_seqs": 8}, 0.0),
        (False, {"max_num_seqs": 8}, 0.0),  # compiled then, compiles anew now
        (True, {"max_num_seqs": 8}, -ANEW),
        (False, {"gpu_memory_utilization": 0.8}, ANEW),  # leaves the compiled code as it is
        (True, {"gpu_memory_utilization": 0.8}, 0.0),
        (True, {"enforce_eager": True}, 0.0),
    ],
)
def test_a_start_that_compiles_leaves_less_than_one_from_the_cache(
    from_cache: bool | None, changes: dict[str, Any], more: float
) -> None:
    asked = replace(ASKED, **changes)
    untold = plan_after(llama(), asked, served(-0.8))
    told = plan_after(llama(), asked, served(-0.8, from_cache))
    assert ANEW > 0
    assert told.available_kv_gib == pytest.approx(untold.available_kv_gib + more)


@pytest.mark.parametrize(
    ("from_cache", "kv_gib", "words"),
    [
        (None, 4.0, "measured here on day"),
        (True, 4.0, "measured here on day, from its compile cache"),
        (False, 4.0 + ANEW, "measured here on day while it compiled, as it need not"),
    ],
)
def test_the_next_start_of_the_same_settings_comes_from_the_cache(
    from_cache: bool | None, kv_gib: float, words: str
) -> None:
    known = Measured(15.2, available_kv_gib=4.0, when="day", from_cache=from_cache)
    taught = make_plan(llama(), replace(ASKED, measured=known))
    assert taught.available_kv_gib == pytest.approx(kv_gib)
    assert taught.reason.endswith(words)


@pytest.mark.parametrize(
    ("name", "release", "least", "most"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "0.18.1", 0.0, 0.0),
        ("meta-llama/Llama-3.1-8B-Instruct", "0.29.0", 0.4, 0.9),
        ("Qwen/Qwen3-8B", "0.27.1", 0.8, 1.3),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", "0.28.0", 2.0, 2.7),
        ("Qwen/Qwen3.6-27B", "0.28.0", 0.0, 0.5),
    ],
)
def test_what_compiling_takes_is_what_starts_of_both_kinds_differ_by(
    name: str, release: str, least: float, most: float
) -> None:
    config = known_config(name)
    assert config is not None
    assert least <= compiling(model_of(config), version_of(release)).gib <= most
