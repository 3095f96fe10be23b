# SPDX-License-Identifier: Apache-2.0
"""Whatever JSON object a model's config.json is, reading and planning it end, soon, in a word."""

from __future__ import annotations

import ast
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import agent.core.planner
from agent.core.planner.advice import advice_for
from agent.core.planner.config_keys import NotAModelError
from agent.core.planner.model import model_of
from agent.core.planner.plan import make_plan
from agent.core.planner.question import Plan, PlanRequest
from agent.core.planner.terms.formats import UnknownQuantizationError
from agent.core.verify.model_shape import shape_of
from agent.host.models.known import known_models
from tests.given.yardstick import yardsticks

MOST = 50
"""Yardsticks for one call: about a second on an idle machine, where 0.2 s are usual."""

LLAMA: Mapping[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
}


def words_of_the_planner() -> list[str]:
    """Return every word that the planner's code holds: keys of config.json are among them."""
    words = set()
    for file in Path(agent.core.planner.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words.add(node.value)
    return sorted(word for word in words if word.isidentifier())


WORDS = words_of_the_planner()
KEYS = st.sampled_from(WORDS)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 2, 3, 4, 32, 128, 10**9, 2**40, 2**63, 10**200, -(10**200)]),
    st.sampled_from([0.0, -0.0, 0.5, 1e-300, 1e300, float("inf"), float("-inf"), float("nan")]),
    st.sampled_from(["", "x", "channel", "four", "float", "G" * 5000, "LG", "M*-E", "yarn"]),
    st.integers(-5, 10_000),
    KEYS,
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5), st.dictionaries(KEYS, inner, max_size=5), inner
    ),
    max_leaves=12,
)
TABLES = st.sampled_from([LLAMA, {}, *known_models().values()])
REQUESTS = st.sampled_from(
    [
        PlanRequest(23.5),
        PlanRequest(79.15, tensor_parallel_size=4, pipeline_parallel_size=2),
        PlanRequest(23.5, quantization="fp8", kv_cache_dtype="fp8", max_model_len=8192),
    ]
)


def planned(config: Mapping[str, Any], request: PlanRequest) -> Plan | None:
    """Return the plan as the agent makes one; None where config.json or its format is none."""
    try:
        model = model_of(config)
    except NotAModelError:
        return None
    try:
        plan = make_plan(model, request)
    except UnknownQuantizationError:
        return None
    advice_for(model, plan)
    return plan


@given(table=TABLES, changes=st.dictionaries(KEYS, VALUES, max_size=6), request_=REQUESTS)
@settings(max_examples=400, deadline=None)
def test_any_object_is_a_plan_or_no_model(
    table: Mapping[str, Any], changes: Mapping[str, Any], request_: PlanRequest
) -> None:
    config = {**table, **changes}

    def both() -> None:
        planned(config, request_)
        shape_of(config)

    assert yardsticks(both, MOST) <= MOST


@given(
    name=st.sampled_from(["quantization_config", "compression_config"]),
    own=st.dictionaries(
        st.sampled_from(["quant_method", "bits", "w_bit", "group_size", "q_group_size"])
        | st.sampled_from(["quant_algo", "config_groups", "ignore", "kv_cache_scheme"])
        | KEYS,
        VALUES | st.sampled_from(["awq", "gptq", "fp8", "mxfp4", "compressed-tensors", "NVFP4"]),
        max_size=8,
    ),
    weights=VALUES | st.dictionaries(st.sampled_from(["num_bits", "type", "group_size"]), VALUES),
    request_=REQUESTS,
)
@settings(max_examples=400, deadline=None)
def test_any_quantization_is_a_plan_or_no_model(
    name: str, own: Mapping[str, Any], weights: object, request_: PlanRequest
) -> None:
    grouped = {**own, "config_groups": {"group_0": {"weights": weights}}}
    for table in (own, grouped, {**grouped, "quant_method": "compressed-tensors"}):
        planned({**LLAMA, name: table}, request_)


BOMBS: Mapping[str, Mapping[str, Any]] = {
    "a thousand million layers": {"num_hidden_layers": 10**9},
    "as many by their letters": {"hybrid_override_pattern": "M*" * 500_000},
    "as many by their kinds": {"num_hidden_layers": None, "layer_types": ["full"] * 300_000},
    "a list that is searched for each layer": {
        "num_hidden_layers": 1000,
        "attn_layer_indices": list(range(300_000)),
    },
    "as many blocks": {"num_hidden_layers": 1000, "block_configs": [{}] * 300_000},
    "a table of a million": {"rope_scaling": dict.fromkeys(map(str, range(1_000_000)), 1)},
    "modules that are left plain": {
        "quantization_config": {"quant_method": "fp8", "ignore": ["self_attn" * 1000] * 100_000}
    },
    "a hidden size of 10^200": {"hidden_size": 10**200},
    "a vocabulary of 10^300": {"vocab_size": 10**300},
    "a context of 10^30": {"max_position_embeddings": 10**30},
    "a factor of 10^308": {
        "rope_scaling": {
            "rope_type": "yarn",
            "original_max_position_embeddings": 4096,
            "factor": 1e308,
        }
    },
    "a group of a channel": {
        "quantization_config": {"quant_method": "awq", "group_size": "channel"}
    },
    "bits of a letter": {"quantization_config": {"quant_method": "gptq", "bits": "x"}},
}


def nested(depth: int) -> dict[str, Any]:
    inside: dict[str, Any] = dict(LLAMA)
    for _ in range(depth):
        inside = {"text_config": inside}
    return inside


@pytest.mark.parametrize("what", BOMBS)
def test_no_number_or_list_takes_more_than_its_time_and_memory(what: str) -> None:
    config = {**LLAMA, **BOMBS[what]}
    tracemalloc.start()
    planned(config, PlanRequest(23.5))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 50 << 20
    assert yardsticks(lambda: planned(config, PlanRequest(23.5)), MOST) <= MOST


def test_what_is_nested_without_end_is_no_model() -> None:
    assert planned(nested(900), PlanRequest(23.5)) is None


@pytest.mark.parametrize("count", [0, None])
def test_what_has_no_layers_is_no_model(count: int | None) -> None:
    for pattern in (["M"], {"M": 1}, 5, ""):
        config = {**LLAMA, "num_hidden_layers": count, "hybrid_override_pattern": pattern}
        assert planned(config, PlanRequest(23.5)) is None


def test_a_limit_that_is_none_is_as_none_said() -> None:
    said = planned(
        {**LLAMA, "model_max_length": 10**30, "max_position_embeddings": None}, PlanRequest(23.5)
    )
    assert said is not None
    assert said.model_tokens == 2048


@pytest.mark.parametrize(
    ("own", "name"),
    [
        ({"quant_method": "awq", "bits": "x"}, "bits"),
        ({"quant_method": "awq", "group_size": "channel"}, "group_size"),
        ({"config_groups": {"a": {"weights": {"num_bits": "four"}}}}, "num_bits"),
    ],
)
def test_a_size_that_is_no_number_is_named(own: Mapping[str, Any], name: str) -> None:
    with pytest.raises(NotAModelError, match=f"quantization_config.{name} is no number"):
        model_of({**LLAMA, "quantization_config": own})
