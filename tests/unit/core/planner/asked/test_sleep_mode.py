# SPDX-License-Identifier: Apache-2.0
"""Up to 0.26 a sleeping start is given what its loading has freed once more, as KV cache."""

from __future__ import annotations

import shlex

import pytest

from agent.core.command.picture import picture_of_line
from agent.core.planner.asked.reading import Ground, request_of
from agent.core.planner.model import model_of
from agent.core.planner.plan import make_plan, terms
from agent.core.planner.question import Fit, Plan, PlanRequest
from agent.core.planner.versions import version_of
from agent.host.models.known import known_config

GIB = 2**30
ASLEEP = "--enable-sleep-mode"
LLAMA_1B = "meta-llama/Llama-3.2-1B-Instruct"
LLAMA_HEAD_GIB = 128256 * 2048 * 2 / GIB


def plan(name: str, line: str, version: str, gib: float = 79.2) -> Plan:
    config = known_config(name)
    assert config is not None, name
    model = model_of(config)
    picture = picture_of_line(["m", *shlex.split(line)])
    request = PlanRequest(gib, version_of(version))
    return make_plan(model, request_of(picture, model, Ground(request)))


def given_twice(name: str, more: str = "", version: str = "0.26.0") -> float:
    """The GiB of KV cache that sleep mode adds."""
    asleep = plan(name, f"{ASLEEP} {more}", version).available_kv_gib
    return asleep - plan(name, more, version).available_kv_gib


@pytest.mark.parametrize("version", ["0.11.0", "0.20.2", "0.26.0"])
def test_a_head_that_is_dropped_for_the_embeddings_is_given_twice(version: str) -> None:
    assert given_twice(LLAMA_1B, version=version) == pytest.approx(LLAMA_HEAD_GIB)


@pytest.mark.parametrize("version", ["0.10.2", "0.27.1", "0.33.0"])
def test_before_and_after_nothing_is_given_twice(version: str) -> None:
    assert given_twice(LLAMA_1B, version=version) == 0
    assert plan(LLAMA_1B, ASLEEP, version).verdict is Fit.FITS


def test_each_gpu_drops_its_part_of_the_head() -> None:
    half = given_twice(LLAMA_1B, "--tensor-parallel-size 2")
    assert half == pytest.approx(LLAMA_HEAD_GIB / 2)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", ""),  # Its head is its own.
        ("Qwen/Qwen3-0.6B", ""),  # Tied, and none is made.
        (LLAMA_1B, "--runner pooling"),
    ],
)
def test_where_no_head_is_dropped_nothing_is_given_twice(name: str, more: str) -> None:
    assert given_twice(name, more) == 0


def test_an_a10_is_given_what_vllm_0_26_printed() -> None:
    """13.77 GiB at 0.92 and 11.13 at 0.8, of a model of 8.3 GiB on a card of 22.06.

    The first ran out of memory once the cache stood; the second left the card enough.
    """
    name = "google/gemma-4-12b-it-qat-w4a16-ct"
    for share, printed in ((0.92, 13.77), (0.8, 11.13)):
        line = f"{ASLEEP} --max-model-len 16384 --gpu-memory-utilization {share}"
        planned = plan(name, line, "0.26.0", 22.06)
        assert planned.available_kv_gib == pytest.approx(printed, rel=0.05)
        assert planned.verdict is Fit.TIGHT
        assert "about 2.0 GiB more than there is" in planned.reason


def test_a_layer_of_weights_that_are_packed_anew_is_given_twice() -> None:
    name = "Qwen/Qwen2.5-14B-Instruct-AWQ"
    # 48 layers of 13.2 billion numbers in 4 bits and scales.
    assert given_twice(name) == pytest.approx(13.2e9 * 4.16 / 8 / 48 / GIB, rel=0.05)


def test_the_plan_names_what_is_given_twice() -> None:
    row = next(x for x in terms(plan(LLAMA_1B, ASLEEP, "0.26.0")) if x["name"] == "sleep_mode")
    assert row["gib"] == pytest.approx(-LLAMA_HEAD_GIB, abs=0.001)
    assert "dropped for the embeddings" in str(row["how"])
