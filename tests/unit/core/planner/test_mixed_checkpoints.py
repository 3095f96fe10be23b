# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that store the parts of a model in different widths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from agent.core.planner.layers import Keeps
from agent.core.planner.model import model_of
from agent.core.planner.plan import make_plan
from agent.core.planner.question import PlanRequest
from agent.core.planner.versions import version_of
from agent.host.models.known import known_config

HYBRID = "Qwen/Qwen3.6-27B"
ALGORITHMS = {"mlp": "W4A16_NVFP4", "self_attn": "FP8", "linear_attn": "FP8"}
PROJECTIONS = {
    "mlp": ("gate_proj", "up_proj", "down_proj"),
    "self_attn": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "linear_attn": ("in_proj_qkv", "in_proj_z", "out_proj"),
}


def named(name: str) -> float:
    config = known_config(name)
    assert config is not None, name
    return make_plan(model_of(config), PlanRequest(121.7)).weights.gib


def by_layer(config: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    layers = model_of(config).layers
    return {
        f"model.language_model.layers.{at}.{part}.{projection}": {"quant_algo": ALGORITHMS[part]}
        for at, layer in enumerate(layers)
        for part in ("mlp", "linear_attn" if layer.keeps is Keeps.STATE else "self_attn")
        for projection in PROJECTIONS[part]
    }


def test_a_checkpoint_that_names_each_layers_algorithm_is_weighed_by_part() -> None:
    """nvidia/Qwen3.6-27B-NVFP4 prints 19.78 GiB: attention in 8 bits, MLP and head in 4."""
    base = dict(known_config(HYBRID) or {})
    layers = by_layer(base)
    plain_head = {"quant_method": "modelopt", "quantized_layers": layers}
    own = {**plain_head, "quantized_layers": {**layers, "lm_head": {"quant_algo": "W4A16_NVFP4"}}}
    printed = make_plan(model_of({**base, "quantization_config": own}), PlanRequest(121.7))
    assert printed.weights.gib == pytest.approx(19.78, rel=0.03)
    assert printed.weights.error_gib < 0.05 * printed.weights.gib
    heavier = make_plan(model_of({**base, "quantization_config": plain_head}), PlanRequest(121.7))
    assert heavier.weights.gib == pytest.approx(printed.weights.gib + 1.7, abs=0.1)
    assert named("nvidia/Qwen3.6-27B-NVFP4") == pytest.approx(printed.weights.gib, rel=0.01)


def test_groups_of_modules_have_their_own_bits() -> None:
    base = dict(known_config(HYBRID) or {})
    four = {"weights": {"num_bits": 4, "type": "float", "group_size": 16}}
    eight = {"weights": {"num_bits": 8, "type": "float"}, "targets": ["re:.*self_attn.*"]}
    groups = {"group_0": {**four, "targets": ["Linear"]}, "group_1": eight}
    own = {"quant_method": "compressed-tensors", "config_groups": groups, "ignore": ["lm_head"]}
    mixed = make_plan(model_of({**base, "quantization_config": own}), PlanRequest(121.7)).weights
    own["config_groups"] = {"group_0": groups["group_0"]}
    alone = make_plan(model_of({**base, "quantization_config": own}), PlanRequest(121.7)).weights
    assert 0.3 < mixed.gib - alone.gib < 1.5


def test_qwens_own_gptq_of_hybrids_leaves_the_attention_in_16_bits() -> None:
    """Qwen3.5-35B-A3B-GPTQ-Int4 prints 21.05 GiB; others' GPTQ-like copies have it in 4."""
    own = named("Qwen/Qwen3.5-35B-A3B-GPTQ-Int4")
    assert own == pytest.approx(21.05, rel=0.02)
    others = named("Intel/Qwen3.5-35B-A3B-int4-AutoRound")
    assert others < own - 1.5


def test_layers_of_a_kind_that_are_named_one_by_one_are_all_of_that_kind() -> None:
    base = dict(known_config(HYBRID) or {})
    by_one = [name for name in by_layer(base) if "linear_attn" in name]
    sizes = [
        make_plan(
            model_of(
                {**base, "quantization_config": {"quant_method": "modelopt_fp4", "ignore": left}}
            ),
            PlanRequest(121.7),
        ).weights.gib
        for left in (by_one, ["*linear_attn*"])
    ]
    assert sizes[0] == sizes[1]


def weights_on(card: str, name: str, release: str = "0.19.0") -> float:
    config = known_config(name)
    assert config is not None, name
    request = PlanRequest(79.3, version_of(release), gpu_name=card)
    return make_plan(model_of(config), request).weights.gib


BLOCKS = "Qwen/Qwen3.5-35B-A3B-FP8"


def test_a_card_without_8_bit_floats_has_a_scale_in_each_row_of_a_block() -> None:
    """vLLM 0.19.0 prints 34.71 GiB on an A100."""
    native = weights_on("NVIDIA H100 80GB HBM3", BLOCKS)
    assert weights_on("NVIDIA A100 80GB PCIe", BLOCKS) == pytest.approx(34.71, rel=0.005)
    assert native == pytest.approx(34.71 - 0.5, abs=0.15)
    for card in ("NVIDIA GeForce RTX 3090", "Quadro RTX 6000", "Tesla T4", "NVIDIA RTX A6000"):
        assert weights_on(card, BLOCKS) > native, card
    for card in ("NVIDIA L4", "NVIDIA GeForce RTX 4090", "NVIDIA RTX PRO 6000 Blackwell", ""):
        assert weights_on(card, BLOCKS) == native, card


@pytest.mark.parametrize(
    ("name", "release"),
    [(BLOCKS, "0.8.5"), ("Qwen/Qwen3-8B", "0.19.0"), ("RedHatAI/Qwen3-8B-FP8-dynamic", "0.19.0")],
)
def test_other_formats_and_releases_weigh_the_same_on_any_card(name: str, release: str) -> None:
    cards = ("NVIDIA A100 80GB PCIe", "NVIDIA H100 80GB HBM3")
    one, other = (weights_on(card, name, release) for card in cards)
    assert one == other
