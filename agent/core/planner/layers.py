# SPDX-License-Identifier: Apache-2.0
"""What each layer of a model keeps of a request: all tokens, a window, a latent, a state, nothing.

Read from config.json as vLLM 0.9..0.32 reads it (model_executor/models, v1/kv_cache_interface).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Keeps(StrEnum):
    """What a layer's cache grows with."""

    TOKENS = "full attention"
    WINDOW = "sliding window"
    CHUNK = "chunked attention"
    LATENT = "latent attention (MLA)"
    STATE = "recurrent state"
    NOTHING = "no cache of its own"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer; element counts are of the whole model, before tensor parallelism.

    `kv_width` is keys and values of one head together (for LATENT: the latent with its rope part);
    `span` the tokens of a window or chunk; `state_elements` and `conv_elements` the recurrent
    state of one request, `weights` the projections' parameters where they are no attention's.
    """

    keeps: Keeps
    kv_heads: int = 0
    kv_width: int = 0
    span: int = 0
    state_elements: int = 0
    conv_elements: int = 0
    state_bytes: int = 4
    weights: int = 0
    attends: bool = True
    has_mlp: bool = True


_WINDOWS = {"sliding_attention", "sliding", "local", "local_attention", "sliding_window"}
_STATES = {"linear_attention", "mamba", "mamba2", "recurrent", "conv", "ssm"}


def layers_of(text: Mapping[str, Any], hidden: int, heads: int, head_dim: int) -> tuple[Layer, ...]:
    """Return the layers in order, from the language model's part of config.json."""
    count = int(text.get("num_hidden_layers") or text.get("n_layer") or text.get("num_layers") or 0)
    if text.get("kv_lora_rank"):
        return (_latent(text),) * count
    pattern = text.get("hybrid_override_pattern")
    if isinstance(pattern, str) and pattern:
        return tuple(_by_letter(letter, text, hidden, heads, head_dim) for letter in pattern)
    shared = int(text.get("num_kv_shared_layers") or 0)
    kinds = _kinds(text, count)
    made = [_by_kind(kind, text, hidden, heads, head_dim) for kind in kinds]
    # The last layers of Gemma 3n and 4's small models read the cache of an earlier layer.
    return tuple(made[: count - shared]) + (Layer(Keeps.NOTHING),) * min(shared, count)


def _kinds(text: Mapping[str, Any], count: int) -> list[str]:
    named = text.get("layer_types") or text.get("layers_block_type")
    if isinstance(named, list) and len(named) == count:
        return [str(kind) for kind in named]
    every = text.get("full_attention_interval")
    if isinstance(every, int) and every > 0:
        return ["full" if (i + 1) % every == 0 else "linear_attention" for i in range(count)]
    period = text.get("attn_layer_period")
    if isinstance(period, int) and period > 0:
        offset = int(text.get("attn_layer_offset") or 0)
        return ["full" if i % period == offset else "mamba" for i in range(count)]
    window = text.get("sliding_window")
    longest = text.get("max_position_embeddings") or 0
    if not window or not text.get("use_sliding_window", True) or window >= longest > 0:
        chunk = text.get("attention_chunk_size")
        # Llama 4: three layers of four attend within a chunk.
        return ["chunk" if chunk and (i + 1) % 4 else "full" for i in range(count)]
    pattern = text.get("sliding_window_pattern") or _usual_pattern(str(text.get("model_type", "")))
    if isinstance(pattern, int) and pattern > 1:
        return ["full" if (i + 1) % pattern == 0 else "sliding_attention" for i in range(count)]
    first = text.get("max_window_layers") if "use_sliding_window" in text else 0
    return ["full" if i < int(first or 0) else "sliding_attention" for i in range(count)]


def _usual_pattern(kind: str) -> int:
    if kind.startswith("gemma2"):
        return 2
    return 6 if kind.startswith("gemma3") else 1


def _by_kind(kind: str, text: Mapping[str, Any], hidden: int, heads: int, head_dim: int) -> Layer:
    kv_heads = int(text.get("num_key_value_heads") or text.get("num_kv_heads") or heads)
    if kind in _STATES:
        return _state(text, hidden)
    if kind in _WINDOWS:
        return Layer(Keeps.WINDOW, kv_heads, 2 * head_dim, int(text.get("sliding_window") or 0))
    if kind in ("chunk", "chunked_attention"):
        return Layer(Keeps.CHUNK, kv_heads, 2 * head_dim, int(text["attention_chunk_size"]))
    # Gemma 4: the global layers have heads of another width and keep keys that serve as values.
    wide = int(text.get("global_head_dim") or head_dim)
    if text.get("attention_k_eq_v"):
        return Layer(Keeps.TOKENS, int(text.get("num_global_key_value_heads") or kv_heads), wide)
    return Layer(Keeps.TOKENS, kv_heads, 2 * wide)


def _latent(text: Mapping[str, Any]) -> Layer:
    width = int(text["kv_lora_rank"]) + int(text.get("qk_rope_head_dim") or 64)
    return Layer(Keeps.LATENT, 1, width)


def _by_letter(
    letter: str, text: Mapping[str, Any], hidden: int, heads: int, head_dim: int
) -> Layer:
    # Nemotron-H: M mamba, * attention, - MLP, E experts; each is a layer of its own.
    match letter:
        case "M":
            state = _state(text, hidden)
            return Layer(
                Keeps.STATE,
                state_elements=state.state_elements,
                conv_elements=state.conv_elements,
                state_bytes=state.state_bytes,
                weights=state.weights,
                has_mlp=False,
            )
        case "*":
            kv_heads = int(text.get("num_key_value_heads") or heads)
            return Layer(Keeps.TOKENS, kv_heads, 2 * head_dim, has_mlp=False)
        case _:
            return Layer(Keeps.NOTHING, attends=False)


def _state(text: Mapping[str, Any], hidden: int) -> Layer:
    """A gated delta net (Qwen3-Next, 3.5) or a Mamba-2 layer."""
    dtype = str(text.get("mamba_ssm_dtype") or text.get("mamba_ssm_cache_dtype") or "float32")
    state_bytes = 4 if "32" in dtype else 2
    if text.get("linear_num_value_heads"):
        keys = int(text["linear_num_key_heads"]) * int(text["linear_key_head_dim"])
        values = int(text["linear_num_value_heads"]) * int(text["linear_value_head_dim"])
        state = int(text["linear_num_value_heads"]) * int(text["linear_key_head_dim"])
        kernel = int(text.get("linear_conv_kernel_dim") or 4)
        weights = hidden * (2 * keys + 2 * values) + values * hidden
        return Layer(
            Keeps.STATE,
            state_elements=state * int(text["linear_value_head_dim"]),
            conv_elements=(2 * keys + values) * (kernel - 1),
            state_bytes=state_bytes,
            weights=weights,
        )
    heads = int(text.get("mamba_num_heads") or text.get("mamba_n_heads") or 0)
    width = int(text.get("mamba_head_dim") or text.get("mamba_d_head") or 64)
    inner = heads * width or int(text.get("mamba_expand") or 2) * hidden
    size = int(text.get("ssm_state_size") or text.get("mamba_d_state") or 16)
    groups = int(text.get("n_groups") or text.get("mamba_n_groups") or 1)
    kernel = int(text.get("conv_kernel") or text.get("mamba_d_conv") or 4)
    return Layer(
        Keeps.STATE,
        state_elements=inner * size,
        conv_elements=(inner + 2 * groups * size) * (kernel - 1),
        state_bytes=state_bytes,
        weights=hidden * (2 * inner + 2 * groups * size + heads) + inner * hidden,
    )
