# SPDX-License-Identifier: Apache-2.0
"""Mixtures of experts: how many, how wide, and which layers have them instead of one MLP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.core.numerals import whole_number
from agent.core.planner.config_keys import kind_of, need, number, part, words
from agent.core.record import dataclass


@dataclass(frozen=True, slots=True)
class Experts:
    """`active` of `count` experts compute a token, 0 where config.json does not say.

    `width` is what an expert reads and writes where it is not the hidden size, and
    `shared_intermediate_size` the MLP that every token passes beside them.
    """

    count: int
    intermediate_size: int
    shared_intermediate_size: int = 0
    active: int = 0
    width: int = 0


def experts_of(text: Mapping[str, Any]) -> Experts | None:
    """Read the experts of a model; None for a dense one."""
    inside = part(text, "ffn_config")
    count = number(
        text,
        *("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts"),
    ) or number(inside, "moe_num_experts")
    if count is None or count < 2:
        return None
    if text.get("enable_moe_block") is False:
        return None
    each = number(
        text,
        *("moe_intermediate_size", "expert_intermediate_size", "expert_ffn_hidden_size"),
    )
    several = text.get("moe_num_experts")
    if isinstance(several, list) and several:
        # ERNIE's vision models: experts of text and of images, each kind of its own width.
        widths = text.get("moe_intermediate_size")
        widths = widths if isinstance(widths, list) else [each or 0] * len(several)
        each = sum(n * w for n, w in zip(several, widths, strict=False)) // count
    each = each or number(inside, "ffn_hidden_size") or need(text, "intermediate_size")
    active = number(
        text,
        *("num_experts_per_tok", "num_experts_per_token", "experts_per_token"),
        *("top_k_experts", "moe_topk", "moe_k"),
    )
    return Experts(
        count=count,
        intermediate_size=each,
        shared_intermediate_size=_shared(text, each),
        active=active or number(inside, "moe_top_k") or 0,
        width=number(text, "moe_latent_size") or 0,
    )


def _shared(text: Mapping[str, Any], each: int) -> int:
    kind = kind_of(text)
    whole = number(text, "shared_expert_intermediate_size", "shared_intermediate_size")
    whole = whole or number(text, "share_expert_dim")
    if whole is not None:
        return whole
    if kind.startswith("llama4"):
        return each
    if kind.startswith("gemma4"):
        return need(text, "intermediate_size")
    if kind.startswith("longcat"):
        return need(text, "ffn_hidden_size")
    one = number(text, "moe_shared_expert_intermediate_size") or each
    names = ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts")
    return one * (number(text, *names, "num_shared_expert") or 0)


def have_experts(text: Mapping[str, Any], count: int) -> list[bool]:
    """Tell for each layer whether it has experts, as each family words it."""
    if experts_of(text) is None:
        return [False] * count
    stated = words(text, "mlp_layer_types")
    if len(stated) == count:
        return [kind == "sparse" for kind in stated]
    named = words(text, "moe_layers")
    enumerated = text.get("moe_layers_enum")
    if not named and isinstance(enumerated, str) and enumerated:
        named = enumerated.split(",")
    if named:
        chosen = {whole_number(layer.strip()) for layer in named}
        return [layer in chosen for layer in range(count)]
    freq = text.get("moe_layer_freq")
    if isinstance(freq, list) and len(freq) == count:
        return [bool(flag) for flag in freq]
    return [_has(text, layer) for layer in range(count)]


def _has(text: Mapping[str, Any], layer: int) -> bool:
    period = number(text, "expert_layer_period")
    if period is not None:
        return layer % period == int(text.get("expert_layer_offset") or 0)
    step = number(text, "interleave_moe_layer_step")
    if step is not None:
        return (layer + 1) % step == 0
    only = text.get("mlp_only_layers")
    if isinstance(only, list) and layer in only:
        return False
    first = number(text, "first_k_dense_replace", "num_dense_layers", "moe_layer_start_index") or 0
    last = number(text, "moe_layer_end_index")
    every = number(text, "decoder_sparse_step", "moe_layer_interval", "moe_layer_freq") or 1
    if layer < first or (last is not None and layer > last):
        return False
    # Qwen counts from the first layer, DeepSeek and ERNIE from the first with experts.
    return (layer + 1) % every == 0 if "decoder_sparse_step" in text else layer % every == 0
