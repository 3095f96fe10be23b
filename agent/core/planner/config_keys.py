# SPDX-License-Identifier: Apache-2.0
"""Reads numbers of a model's config.json under the several names that families give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class NotAModelError(ValueError):
    """config.json lacks what the arithmetic needs; the message names it."""


def number(config: Mapping[str, Any], *names: str) -> int | None:
    """Return the first of these keys that holds a positive whole number, or a list's largest."""
    for name in names:
        value = config.get(name)
        if isinstance(value, list) and value and all(isinstance(item, int) for item in value):
            value = max(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def need(config: Mapping[str, Any], *names: str) -> int:
    """Return the same; raises NotAModelError when none of them is there."""
    value = number(config, *names)
    if value is None:
        raise NotAModelError(f"config.json has no {names[0]}: is it a language model's?")
    return value


def part(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a table of the file, empty where it is none."""
    value = config.get(name)
    return value if isinstance(value, Mapping) else {}


def words(config: Mapping[str, Any], *names: str) -> list[str]:
    """Return the first of these keys that holds a list, as strings."""
    for name in names:
        value = config.get(name)
        if isinstance(value, list) and value:
            return [str(item) for item in value]
    return []


def kind_of(text: Mapping[str, Any]) -> str:
    """Return the family: model_type, else the architecture's name in small letters."""
    kind = text.get("model_type")
    if isinstance(kind, str) and kind:
        return kind.lower()
    architectures = words(text, "architectures")
    return architectures[0].lower() if architectures else ""


def count_of_layers(text: Mapping[str, Any]) -> int:
    """Return how many layers there are, by the number or by the list of their kinds."""
    stated = number(text, "num_hidden_layers", "n_layer", "n_layers", "num_layers")
    return stated or len(words(text, "layers_block_type", "layer_types"))


def kv_heads_of(text: Mapping[str, Any], heads: int) -> int:
    """Return the heads of keys and values; multi-query models have one."""
    grouped = number(text, "num_key_value_heads", "multi_query_group_num")
    grouped = grouped or number(part(text, "attn_config"), "kv_n_heads")
    if grouped is not None:
        return grouped
    if text.get("multi_query") and not text.get("new_decoder_architecture"):
        return 1
    return number(text, "num_kv_heads", "n_head_kv") or heads
