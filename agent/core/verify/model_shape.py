# SPDX-License-Identifier: Apache-2.0
"""The attention of a model as its config.json describes it, for the arithmetic of its KV cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from agent.core.engine.names import dtype_bytes

_USUAL_BYTES = 2

_NOT_UNIFORM = (
    "attention_chunk_size",
    "attn_layer_period",
    "cross_attention_layers",
    "full_attention_interval",
    "hybrid_override_pattern",
    "kv_lora_rank",
    "layers_block_type",
    "linear_attn_config",
    "mamba_d_state",
    "num_kv_shared_layers",
    "ssm_cfg",
    "state_size",
)
"""Keys of models some of whose layers keep something else, or nothing (transformers 4.40..5)."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What config.json says of the attention; `dtype_bytes` are the weights' own.

    `uniform` is False for models with sliding windows, latent attention, recurrent layers or
    layers that share a cache: there tokens and bytes have no fixed ratio.
    """

    layers: int
    kv_heads: int
    head_dim: int
    dtype_bytes: int
    uniform: bool = True


def shape_of(config: Mapping[str, object]) -> ModelShape | None:
    """Read the parsed config.json of a transformers model; None when it lacks the numbers."""
    text = config.get("text_config")
    if isinstance(text, Mapping):
        config = {**config, **text}
    layers = _number(config, "num_hidden_layers", "n_layer", "num_layers")
    heads = _number(config, "num_attention_heads", "n_head")
    kv_heads = _number(config, "num_key_value_heads", "num_kv_heads") or heads
    hidden = _number(config, "hidden_size", "n_embd", "d_model")
    head_dim = _number(config, "head_dim") or (hidden // heads if hidden and heads else None)
    if not layers or not kv_heads or not head_dim:
        return None
    dtype = config.get("dtype") or config.get("torch_dtype")
    known = dtype_bytes(dtype) if isinstance(dtype, str) else None
    return ModelShape(layers, kv_heads, head_dim, known or _USUAL_BYTES, _is_uniform(config))


def _number(config: Mapping[str, object], *names: str) -> int | None:
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _is_uniform(config: Mapping[str, object]) -> bool:
    if any(config.get(name) for name in _NOT_UNIFORM):
        return False
    if config.get("sliding_window") and config.get("use_sliding_window", True):
        return False
    kinds = config.get("layer_types")
    return not isinstance(kinds, list) or set(map(str, kinds)) <= {"full_attention"}
