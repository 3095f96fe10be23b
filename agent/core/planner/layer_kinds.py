# SPDX-License-Identifier: Apache-2.0
"""Which kind of layer stands where: as listed, by a period, by a window, as a family has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.core.planner.config_keys import kind_of, number, words


def kinds_of(text: Mapping[str, Any], count: int) -> list[str]:
    """Return a word for each layer: config.json's own, or full, sliding, chunk, mamba."""
    named = words(text, "layer_types", "layers_block_type")
    if len(named) == count:
        return named
    spread = _spread(text, count)
    if spread:
        return spread
    if "mamba" in kind_of(text) and not number(text, "num_attention_heads", "mamba_n_heads"):
        return ["mamba"] * count
    window = text.get("sliding_window")
    longest = text.get("max_position_embeddings") or 0
    if not isinstance(window, int) or not text.get("use_sliding_window", True):
        window = 0
    if not window or window >= longest > 0:
        chunk = text.get("attention_chunk_size")
        # Llama 4: three layers of four attend within a chunk.
        return ["chunk" if chunk and (i + 1) % 4 else "full" for i in range(count)]
    pattern = text.get("sliding_window_pattern") or _usual_pattern(kind_of(text))
    if isinstance(pattern, str):
        # EXAONE 4: L local, G global, repeated.
        return ["full" if pattern[i % len(pattern)] == "G" else "sliding" for i in range(count)]
    if isinstance(pattern, int) and pattern > 1:
        return ["full" if (i + 1) % pattern == 0 else "sliding_attention" for i in range(count)]
    first = number(text, "max_window_layers") if "use_sliding_window" in text else 0
    return ["full" if i < (first or 0) else "sliding_attention" for i in range(count)]


def _spread(text: Mapping[str, Any], count: int) -> list[str]:
    """Hybrid models that say where attention is by number; nothing where the file says none."""
    every = number(text, "full_attention_interval")
    if every is not None:
        return ["full" if (i + 1) % every == 0 else "linear_attention" for i in range(count)]
    period = number(text, "attn_layer_period")
    if period is not None:
        offset = int(text.get("attn_layer_offset") or 0)
        return ["full" if i % period == offset else "mamba" for i in range(count)]
    full = text.get("attn_layer_indices")
    if not isinstance(full, list) and number(text, "conv_L_cache"):
        full = text.get("full_attn_idxs")
    delta = text.get("linear_attn_config")
    if isinstance(delta, Mapping) and isinstance(delta.get("full_attn_layers"), list):
        # Kimi Linear counts its layers from one.
        full = [layer - 1 for layer in delta["full_attn_layers"]]
    if isinstance(full, list):
        return ["full" if i in full else "mamba" for i in range(count)]
    flags = text.get("attn_type_list")
    if isinstance(flags, list) and len(flags) == count:
        return ["full" if flag else "linear_attention" for flag in flags]
    group = number(text, "layer_group_size")
    if group is not None:
        return ["full" if (i + 1) % group == 0 else "linear_attention" for i in range(count)]
    return []


def _usual_pattern(kind: str) -> int:
    if kind.startswith("gemma2"):
        return 2
    if kind.startswith("cohere2"):
        return 4
    return 6 if kind.startswith("gemma3") else 1
