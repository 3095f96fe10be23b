# SPDX-License-Identifier: Apache-2.0
"""What each layer of a model keeps of a request: all tokens, a window, a latent, a state, nothing.

Read from config.json as vLLM 0.9..0.32 reads it (model_executor/models, v1/kv_cache_interface).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

from agent.core.planner.attention import rope_of
from agent.core.planner.config_keys import count_of_layers, kind_of, kv_heads_of, number, words
from agent.core.planner.experts import have_experts
from agent.core.planner.families import INDEXED, is_encoder_only
from agent.core.planner.layer_kinds import kinds_of
from agent.core.planner.states import state_of
from agent.core.record import dataclass


class Keeps(StrEnum):
    """What a layer's cache grows with."""

    TOKENS = "full attention"
    WINDOW = "sliding window"
    CHUNK = "chunked attention"
    LATENT = "latent attention (MLA)"
    COMPRESSED = "a window, and latents of several tokens each"
    STATE = "recurrent state"
    NOTHING = "no cache of its own"


class Feed(StrEnum):
    """What stands behind a layer's mixer."""

    MLP = "MLP"
    EXPERTS = "experts"
    NOTHING = "none"


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer; counts of elements are of the whole model, before tensor parallelism."""

    keeps: Keeps
    """What it keeps of a request."""

    kv_heads: int = 0
    kv_width: int = 0
    """Keys and values of one head together; for LATENT the latent with its rope part."""

    index_bytes: int = 0
    """A sparse indexer's cache of one token."""

    span: int = 0
    """The tokens of a window or chunk."""

    compress: int = 0
    """The tokens of one latent (DeepSeek-V4); 0 where only the window is kept."""

    state_elements: int = 0
    """The recurrent state of one request."""

    conv_elements: int = 0
    """The state of its convolution, of one request."""

    state_bytes: int = 2
    weights: int = 0
    """The mixer's parameters where it is no attention."""

    queries: int = 0
    """Their width; 0 where it is the model's."""

    output: int = 0
    """What attention writes; 0 where it is as wide as the queries."""

    attends: bool = True
    feed: Feed = Feed.MLP
    inner: int = 0
    """The width of the MLP; 0 where it is the model's."""


_WINDOWS = {"sliding_attention", "sliding", "local", "local_attention", "sliding_window"}
_STATES = {"linear_attention", "mamba", "mamba2", "recurrent", "conv", "ssm", "short_conv"}
_LATENT_KINDS = (
    *("deepseek", "kimi", "longcat", "glm_moe_dsa", "glm4_moe_lite", "glm5", "pangu_ultra"),
    *("mistral_large", "mistral3", "mistral4", "bailing_hybrid", "axk1", "hy_v4"),
)
"""Families whose latent vLLM caches; others with a kv_lora_rank cache keys and values."""

INDEX_BYTES = 132
"""DeepSeek-V3.2's indexer: 128 fp8 numbers and a scale of each token and layer."""


def layers_of(text: Mapping[str, Any], hidden: int, heads: int, head_dim: int) -> tuple[Layer, ...]:
    """Return the layers in order, from the language model's part of config.json."""
    letters = _letters(text)
    if letters:
        return tuple(_by_letter(letter, text, hidden, heads, head_dim) for letter in letters)
    count = count_of_layers(text)
    shared = number(text, "num_kv_shared_layers") or 0
    if is_encoder_only(text, text):
        kv_heads = kv_heads_of(text, heads)
        return (Layer(Keeps.NOTHING, weights=_encoder_mixer(hidden, kv_heads, heads)),) * count
    ratios = text.get("compress_ratios")
    if isinstance(ratios, list) and len(ratios) >= count:
        return tuple(_compressed(text, ratio, hidden, heads, head_dim) for ratio in ratios[:count])
    kinds = kinds_of(text, count)
    made = [_by_kind(kind, text, hidden, heads, head_dim) for kind in kinds]
    # The last layers of Gemma 3n and 4's small models read the cache of an earlier layer.
    for index in range(max(0, count - shared), count):
        made[index] = replace(made[index], keeps=Keeps.NOTHING)
    experts = have_experts(text, count)
    inner = text.get("intermediate_size")
    for index, layer in enumerate(made):
        own = inner[index] if isinstance(inner, list) and len(inner) == count else 0
        if text.get("use_double_wide_mlp") and index >= count - shared:
            own = 2 * int(text.get("intermediate_size") or 0)
        if kind_of(text) in {"mamba", "mamba2", "falcon_mamba"}:
            made[index] = replace(layer, feed=Feed.NOTHING)
        else:
            feed = Feed.EXPERTS if experts[index] else Feed.MLP
            made[index] = replace(layer, feed=feed, inner=int(own))
    return tuple(_as_built(made, text, hidden, heads, head_dim))


def _encoder_mixer(hidden: int, kv_heads: int, heads: int) -> int:
    """Return the parameters of attention that keeps nothing: queries, keys, values and output."""
    return 2 * hidden * hidden + 2 * hidden * hidden * kv_heads // heads


def _as_built(
    made: list[Layer], text: Mapping[str, Any], hidden: int, heads: int, head_dim: int
) -> list[Layer]:
    """Undo how config.json counts: parallel mixers, double layers, layers that were pruned."""
    kind = kind_of(text)
    if kind.startswith("falcon_h1"):
        beside = replace(_state(text, hidden, heads, head_dim), feed=Feed.NOTHING)
        return [part for layer in made for part in (beside, layer)]
    if kind.startswith("longcat"):
        plain = number(text, "ffn_hidden_size") or 0
        return [part for x in made for part in (replace(x, feed=Feed.MLP, inner=plain), x)]
    blocks = text.get("block_configs")
    if isinstance(blocks, list) and len(blocks) == len(made):
        return [_pruned(x, block, hidden, heads) for x, block in zip(made, blocks, strict=True)]
    return made


def _pruned(layer: Layer, block: Mapping[str, Any], hidden: int, heads: int) -> Layer:
    """Nemotron's pruned Llamas: each block has its own attention and MLP, or none."""
    attention, mlp = block.get("attention") or {}, block.get("ffn") or {}
    in_group = attention.get("n_heads_in_group")
    if attention.get("no_op") or attention.get("replace_with_linear"):
        linear = hidden * hidden if attention.get("replace_with_linear") else 0
        layer = replace(layer, keeps=Keeps.NOTHING, attends=False, weights=linear)
    elif isinstance(in_group, int) and in_group > 0:
        layer = replace(layer, kv_heads=heads // in_group)
    if mlp.get("no_op"):
        return replace(layer, feed=Feed.NOTHING)
    width = mlp.get("intermediate_size")
    factor = mlp.get("ffn_mult")
    if not isinstance(width, int) and isinstance(factor, int | float):
        width = -(-int(2 * factor * hidden / 3) // 256) * 256
    return replace(layer, inner=width) if isinstance(width, int) else layer


def _letters(text: Mapping[str, Any]) -> str:
    """Nemotron-H: M mamba, * attention, - MLP, E experts; each is a layer of its own."""
    pattern = text.get("hybrid_override_pattern")
    if isinstance(pattern, str) and pattern:
        return pattern
    if not kind_of(text).startswith("nemotron_h"):
        return ""
    named = {"mlp": "-", "moe": "E", "attention": "*", "full_attention": "*"}
    return "".join(named.get(kind, "M") for kind in words(text, "layers_block_type"))


def _by_letter(
    letter: str, text: Mapping[str, Any], hidden: int, heads: int, head_dim: int
) -> Layer:
    match letter:
        case "M":
            return replace(_state(text, hidden, heads, head_dim), feed=Feed.NOTHING)
        case "*":
            kv_heads = kv_heads_of(text, heads)
            return Layer(Keeps.TOKENS, kv_heads, 2 * head_dim, feed=Feed.NOTHING)
        case "E":
            return Layer(Keeps.NOTHING, attends=False, feed=Feed.EXPERTS)
        case _:
            return Layer(Keeps.NOTHING, attends=False)


def _by_kind(kind: str, text: Mapping[str, Any], hidden: int, heads: int, head_dim: int) -> Layer:
    kv_heads = kv_heads_of(text, heads)
    if kind in _STATES:
        return _state(text, hidden, heads, head_dim)
    if number(text, "kv_lora_rank"):
        return _latent(text, heads)
    if kind_of(text).startswith("mimo_v2"):
        return _of_two_widths(kind, text, heads, head_dim)
    if kind in _WINDOWS:
        span = number(text, "sliding_window") or 0
        queries = (number(text, "num_sliding_attention_heads") or 0) * head_dim
        return Layer(Keeps.WINDOW, kv_heads, 2 * head_dim, span=span, queries=queries)
    if kind in ("chunk", "chunked_attention"):
        return Layer(Keeps.CHUNK, kv_heads, 2 * head_dim, span=int(text["attention_chunk_size"]))
    # Gemma 4: the global layers have heads of another width; keys that serve as values are kept
    # twice all the same.
    wide = number(text, "global_head_dim") or head_dim
    few = number(text, "num_global_key_value_heads") if text.get("attention_k_eq_v") else None
    return Layer(Keeps.TOKENS, few or kv_heads, 2 * wide, queries=heads * wide)


def _of_two_widths(kind: str, text: Mapping[str, Any], heads: int, head_dim: int) -> Layer:
    """MiMo-V2: values are narrower than keys, and windows have heads of their own (mimo_v2.py)."""
    window = kind in _WINDOWS
    own = number(text, "swa_num_key_value_heads") if window else None
    kv_heads = own or kv_heads_of(text, heads)
    key = (number(text, "swa_head_dim") if window else None) or head_dim
    value = number(text, "swa_v_head_dim" if window else "v_head_dim") or key
    span = (number(text, "sliding_window") or 0) if window else 0
    keeps = Keeps.WINDOW if window else Keeps.TOKENS
    return Layer(keeps, kv_heads, key + value, span=span, queries=heads * key, output=heads * value)


def _latent(text: Mapping[str, Any], heads: int) -> Layer:
    rope = rope_of(text)
    rank = int(text["kv_lora_rank"])
    if not kind_of(text).startswith(_LATENT_KINDS):
        return Layer(Keeps.TOKENS, heads, 2 * ((number(text, "qk_nope_head_dim") or 128) + rope))
    # GLM-5.3 keeps one entry for several tokens.
    pooled = number(text, "index_kpool") or 1
    indexed = INDEX_BYTES // pooled if number(text, "index_topk") else 0
    return Layer(Keeps.LATENT, 1, rank + rope, index_bytes=indexed)


def _compressed(
    text: Mapping[str, Any], ratio: object, hidden: int, heads: int, head_dim: int
) -> Layer:
    """DeepSeek-V4: low-rank queries and output, one latent, compressors in 16 bits (twice 8)."""
    low, out = number(text, "q_lora_rank") or hidden, number(text, "o_lora_rank") or hidden
    wide, groups = heads * head_dim, number(text, "o_groups") or 1
    weights = hidden * low + low * wide + hidden * head_dim + wide * out + groups * out * hidden
    every = ratio if isinstance(ratio, int) else 0
    indexed = every == INDEXED
    if every:
        weights += 2 * 2 * hidden * head_dim * (2 if indexed else 1)
    if indexed:
        index, asks = number(text, "index_head_dim") or 0, number(text, "index_n_heads") or 0
        weights += low * asks * index + 2 * hidden * asks + 2 * 2 * hidden * 2 * index
    return Layer(
        Keeps.COMPRESSED,
        kv_heads=1,
        kv_width=head_dim,
        index_bytes=INDEX_BYTES if indexed else 0,
        span=number(text, "sliding_window") or 0,
        compress=every,
        weights=weights,
        feed=Feed.EXPERTS,
    )


def _state(text: Mapping[str, Any], hidden: int, heads: int, head_dim: int) -> Layer:
    state = state_of(text, hidden, heads, head_dim)
    return Layer(
        Keeps.STATE,
        state_elements=state.elements,
        conv_elements=state.conv_elements,
        state_bytes=state.bytes,
        weights=state.weights,
    )
