# SPDX-License-Identifier: Apache-2.0
"""A model as the planner needs it, read from its config.json (transformers 4.40..5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.core.engine_names import dtype_bytes
from agent.core.planner.layers import Layer, layers_of


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture of experts; `dense_layers` of the layers have an ordinary MLP instead.

    `active` of the `count` experts compute a token, 0 where config.json does not say.
    """

    count: int
    intermediate_size: int
    shared_intermediate_size: int = 0
    dense_layers: int = 0
    active: int = 0


@dataclass(frozen=True, slots=True)
class Model:
    """Sizes are numbers of elements; `dtype_bytes` is of the checkpoint's unquantized tensors.

    `quantization_config` is the checkpoint's own, as config.json has it; `vision` tells that an
    image or audio encoder belongs to it, which is profiled too and dwarfs the text's activation.
    """

    architecture: str
    layers: tuple[Layer, ...]
    hidden_size: int
    intermediate_size: int
    heads: int
    head_dim: int
    vocab_size: int
    max_position: int
    dtype_bytes: int = 2
    tied_embeddings: bool = False
    gated_mlp: bool = True
    gated_attention: bool = False
    rotary_dim: int = 128
    experts: Experts | None = None
    query_rank: int = 0
    vision: Mapping[str, Any] | None = None
    quantization_config: Mapping[str, Any] = field(default_factory=dict)


TIED_UNSAID = ("gemma", "opt", "gpt2", "gpt_bigcode", "bloom", "cohere")
"""Kinds of models whose config.json leaves tie_word_embeddings out where it is true."""


class NotAModelError(ValueError):
    """config.json lacks what the arithmetic needs; the message names it."""


def model_of(config: Mapping[str, Any]) -> Model:
    """Read the parsed config.json of a transformers model.

    Raises NotAModelError when a number is missing that nothing can stand in for.
    """
    text = _text_part(config)
    hidden = _need(text, "hidden_size", "n_embd", "d_model")
    heads = number(text, "num_attention_heads", "n_head") or 1
    head_dim = number(text, "head_dim", "qk_head_dim") or hidden // heads
    intermediate = number(text, "intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size")
    _need(text, "num_hidden_layers", "n_layer", "num_layers")
    dtype = text.get("dtype") or text.get("torch_dtype") or config.get("torch_dtype")
    tied = text.get("tie_word_embeddings", config.get("tie_word_embeddings"))
    kind = str(text.get("model_type", ""))
    return Model(
        architecture=str((config.get("architectures") or [kind or "unknown"])[0]),
        layers=layers_of(text, hidden, heads, head_dim),
        hidden_size=hidden,
        intermediate_size=intermediate or 4 * hidden,
        heads=heads,
        head_dim=head_dim,
        vocab_size=_need(text, "vocab_size"),
        max_position=number(text, "max_position_embeddings", "n_positions", "max_seq_len") or 2048,
        dtype_bytes=(dtype_bytes(dtype) if isinstance(dtype, str) else None) or 2,
        tied_embeddings=kind.startswith(TIED_UNSAID) if tied is None else bool(tied),
        gated_mlp=not _is_plain_mlp(kind, text),
        gated_attention=bool(text.get("attn_output_gate")),
        rotary_dim=int(head_dim * float(text.get("partial_rotary_factor") or 1.0)),
        experts=_experts(text),
        query_rank=number(text, "q_lora_rank") or 0,
        vision=_vision(config),
        quantization_config=_quantization(config, text),
    )


def number(config: Mapping[str, Any], *names: str) -> int | None:
    """Return the first of these keys that holds a positive whole number."""
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _need(config: Mapping[str, Any], *names: str) -> int:
    value = number(config, *names)
    if value is None:
        raise NotAModelError(f"config.json has no {names[0]}: is it a language model's?")
    return value


def _text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in ("text_config", "llm_config", "language_config", "thinker_config"):
        part = config.get(name)
        if isinstance(part, Mapping):
            return _text_part({**config, **part, name: None})
    return config


def _is_plain_mlp(kind: str, text: Mapping[str, Any]) -> bool:
    # Squared ReLU and GELU without a gate: two matrices instead of three.
    plain = str(text.get("hidden_act") or text.get("mlp_hidden_act") or "") in {"relu2", "relu"}
    return plain or kind in {"gpt2", "opt", "gpt_bigcode", "gpt_neox", "falcon", "nemotron_h"}


def _experts(text: Mapping[str, Any]) -> Experts | None:
    count = number(text, "num_experts", "n_routed_experts", "num_local_experts")
    if count is None:
        return None
    each = number(text, "moe_intermediate_size", "expert_intermediate_size") or _need(
        text, "intermediate_size"
    )
    shared = number(text, "shared_expert_intermediate_size")
    if shared is None and str(text.get("model_type", "")).startswith("llama4"):
        shared = each
    if shared is None:
        shared = each * (number(text, "n_shared_experts", "num_shared_experts") or 0)
    dense = number(text, "first_k_dense_replace") or 0
    only = text.get("mlp_only_layers")
    return Experts(
        count=count,
        intermediate_size=each,
        shared_intermediate_size=shared,
        dense_layers=dense + (len(only) if isinstance(only, list) else 0),
        active=number(text, "num_experts_per_tok", "experts_per_token", "moe_topk") or 0,
    )


def _vision(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for name in ("vision_config", "vit_config", "audio_config"):
        part = config.get(name)
        if isinstance(part, Mapping) and part:
            return part
    return None


def _quantization(config: Mapping[str, Any], text: Mapping[str, Any]) -> Mapping[str, Any]:
    for where in (config, text):
        for name in ("quantization_config", "compression_config"):
            part = where.get(name)
            if isinstance(part, Mapping):
                return part
    return {}
