# SPDX-License-Identifier: Apache-2.0
"""Which kind of layer stands where, as config.json says it in the words of many families.

Each reader below knows one way of saying it and gives None where the file does not use it; the
first that answers counts. The words are config.json's own, or those of `FULL` and its like.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agent.core.planner.config_keys import kind_of, number, part, words

FULL, SLIDING, CHUNK = "full", "sliding_attention", "chunk"
LINEAR, MAMBA = "linear_attention", "mamba"

CHUNKS_OF_FOUR = 4
"""Llama 4: three layers of four attend within a chunk."""

USUAL_PERIOD = {"gemma2": 2, "cohere2": 4, "gemma3": 6}
"""Every n-th layer attends to all tokens in families that do not say so."""

Reader = Callable[[Mapping[str, Any], int], list[str] | None]


def kinds_of(text: Mapping[str, Any], count: int) -> list[str]:
    """Return a word for each of `count` layers."""
    for reader in READERS:
        kinds = reader(text, count)
        if kinds is not None:
            return kinds
    return [FULL] * count


def _each_named(text: Mapping[str, Any], count: int) -> list[str] | None:
    named = words(text, "layer_types", "layers_block_type")
    return named if len(named) == count else None


def _every_nth_is_full(text: Mapping[str, Any], count: int) -> list[str] | None:
    """Qwen3-Next and Qwen3.5 say an interval, Bailing's hybrids the size of a group."""
    every = number(text, "full_attention_interval")
    return None if every is None else _last_of_each(every, count, LINEAR)


def _groups_end_with_full(text: Mapping[str, Any], count: int) -> list[str] | None:
    group = number(text, "layer_group_size")
    return None if group is None else _last_of_each(group, count, LINEAR)


def _period_and_offset(text: Mapping[str, Any], count: int) -> list[str] | None:
    """Jamba."""
    period = number(text, "attn_layer_period")
    if period is None:
        return None
    offset = number(text, "attn_layer_offset") or 0
    return [FULL if index % period == offset else MAMBA for index in range(count)]


def _full_layers_by_number(text: Mapping[str, Any], count: int) -> list[str] | None:
    """Bamba lists the layers that attend, LFM2 by another name, Kimi Linear counted from one."""
    delta = part(text, "linear_attn_config")
    for listed, first in (
        (delta.get("full_attn_layers"), 1),
        (text.get("attn_layer_indices"), 0),
        (text.get("full_attn_idxs") if number(text, "conv_L_cache") else None, 0),
    ):
        if isinstance(listed, list):
            full = {layer - first for layer in listed if isinstance(layer, int)}
            return [FULL if index in full else MAMBA for index in range(count)]
    return None


def _flags(text: Mapping[str, Any], count: int) -> list[str] | None:
    """MiniMax: one for attention, nought for its linear kind."""
    flags = text.get("attn_type_list")
    if not isinstance(flags, list) or len(flags) != count:
        return None
    return [FULL if flag else LINEAR for flag in flags]


def _windows_by_flag(text: Mapping[str, Any], count: int) -> list[str] | None:
    """MiMo-V2: one for a window, nought for attention to all tokens."""
    flags = text.get("hybrid_layer_pattern")
    if not isinstance(flags, list) or len(flags) != count or not _window(text):
        return None
    return [SLIDING if flag else FULL for flag in flags]


def _all_recurrent(text: Mapping[str, Any], count: int) -> list[str] | None:
    attends = number(text, "num_attention_heads", "mamba_n_heads")
    return [MAMBA] * count if "mamba" in kind_of(text) and not attends else None


def _chunks(text: Mapping[str, Any], count: int) -> list[str] | None:
    if _window(text) or not number(text, "attention_chunk_size"):
        return None
    return _last_of_each(CHUNKS_OF_FOUR, count, CHUNK)


def _windows(text: Mapping[str, Any], count: int) -> list[str] | None:
    """A window in all layers, or in all but those of a pattern or of the first few."""
    if not _window(text):
        return None
    pattern = text.get("sliding_window_pattern") or _usual_period(kind_of(text))
    if isinstance(pattern, str) and pattern:
        # EXAONE 4: L local, G global, repeated.
        return [FULL if pattern[i % len(pattern)] == "G" else SLIDING for i in range(count)]
    if isinstance(pattern, int) and pattern > 1:
        return _last_of_each(pattern, count, SLIDING)
    first = (number(text, "max_window_layers") or 0) if "use_sliding_window" in text else 0
    return [FULL if index < first else SLIDING for index in range(count)]


def _window(text: Mapping[str, Any]) -> int:
    """Return the window's tokens, 0 where it is not used or as long as the context."""
    window, longest = text.get("sliding_window"), text.get("max_position_embeddings") or 0
    if not isinstance(window, int) or not text.get("use_sliding_window", True):
        return 0
    return 0 if isinstance(longest, int) and window >= longest > 0 else window


def _usual_period(kind: str) -> int:
    return next((n for family, n in USUAL_PERIOD.items() if kind.startswith(family)), 1)


def _last_of_each(size: int, count: int, others: str) -> list[str]:
    """Return groups of `size` layers whose last is full and whose others are of another kind."""
    return [FULL if (index + 1) % size == 0 else others for index in range(count)]


READERS: tuple[Reader, ...] = (
    *(_each_named, _every_nth_is_full, _period_and_offset, _full_layers_by_number, _flags),
    *(_windows_by_flag, _groups_end_with_full, _all_recurrent, _chunks, _windows),
)
"""What names layers one by one stands before what gives a rule, and hybrids before windows."""
