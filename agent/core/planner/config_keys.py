# SPDX-License-Identifier: Apache-2.0
"""Reads numbers of a model's config.json under the several names that families give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class NotAModelError(ValueError):
    """config.json lacks what the arithmetic needs; the message names it."""


MOST_LAYERS = 1024
LARGEST = 1 << 40
DEEPEST = 12
MOST_ITEMS = 4096
LONGEST_TEXT = 1024
MOST_PARTS = 100_000


def bounded(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return config.json with what no model has taken out: huge numbers, depths and lists.

    A number that is no number (NaN, 10^200, a tokenizer's 10^30 for "no limit") is as one that is
    not said. Raises NotAModelError for a document of more parts than any model's.
    """
    left = [MOST_PARTS]
    return {str(key): _bounded(value, left, 1) for key, value in document.items()}


def _bounded(value: Any, left: list[int], depth: int) -> Any:
    left[0] -= 1 + (min(len(value), LONGEST_TEXT) // 16 if isinstance(value, str) else 0)
    if left[0] < 0:
        raise NotAModelError(f"config.json has more than {MOST_PARTS} parts: no model has")
    match value:
        case bool() | None:
            return value
        case int() | float():
            return value if -LARGEST < value < LARGEST else None
        case str():
            return value[:LONGEST_TEXT]
        case Mapping() if depth < DEEPEST:
            return {str(key): _bounded(item, left, depth + 1) for key, item in value.items()}
        case list() if depth < DEEPEST:
            return [_bounded(item, left, depth + 1) for item in value[:MOST_ITEMS]]
        case _:
            return None


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
    """Return how many layers there are, by the number or by the list of their kinds.

    Raises NotAModelError for more than any model has.
    """
    stated = number(text, "num_hidden_layers", "n_layer", "n_layers", "num_layers")
    count = stated or len(words(text, "layers_block_type", "layer_types"))
    if count > MOST_LAYERS:
        raise NotAModelError(f"config.json has {count} layers: is it a language model's?")
    return count


def kv_heads_of(text: Mapping[str, Any], heads: int) -> int:
    """Return the heads of keys and values; multi-query models have one."""
    grouped = number(text, "num_key_value_heads", "multi_query_group_num")
    grouped = grouped or number(part(text, "attn_config"), "kv_n_heads")
    if grouped is not None:
        return grouped
    if text.get("multi_query") and not text.get("new_decoder_architecture"):
        return 1
    return number(text, "num_kv_heads", "n_head_kv") or heads
