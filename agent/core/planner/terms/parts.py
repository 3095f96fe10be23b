# SPDX-License-Identifier: Apache-2.0
"""Which parts of a model a checkpoint stores otherwise than the rest, by the modules it names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from agent.core.planner.layers import Feed, Keeps
from agent.core.planner.model import Model
from agent.core.record import dataclass


@dataclass(frozen=True, slots=True)
class Shares:
    """The shares of a model's layers whose parts are stored in one way, each from 0 to 1."""

    attention: float = 0.0
    states: float = 0.0
    mlp: float = 0.0
    shared: float = 0.0

    def beside(self, other: Shares) -> Shares:
        """Return what neither of the two covers."""
        return Shares(
            attention=max(0.0, 1 - self.attention - other.attention),
            states=max(0.0, 1 - self.states - other.states),
            mlp=max(0.0, 1 - self.mlp - other.mlp),
            shared=max(0.0, 1 - self.shared - other.shared),
        )


NONE = Shares()

LEFT_OUT = (
    *("modules_to_not_convert", "ignore", "ignored_layers", "exclude_modules"),
    "llm_int8_skip_modules",
)
"""Keys under which the methods name the modules that stay unquantized."""


def left_plain(own: Mapping[str, Any]) -> list[str]:
    """Return the modules that a checkpoint leaves unquantized, names or patterns."""
    for name in LEFT_OUT:
        left = own.get(name)
        if isinstance(left, list) and left:
            return [str(entry) for entry in left]
    dynamic = own.get("dynamic")
    if not isinstance(dynamic, Mapping):
        return []
    # GPTQModel: a pattern after "-:" is left out; "attn" covers both kinds of attention.
    out = [str(entry).removeprefix("-:") for entry in dynamic if str(entry).startswith("-:")]
    return [
        name
        for entry in out
        for name in (("self_attn*", "linear_attn*") if entry == _ANY_ATTENTION else (entry,))
    ]


_ANY_ATTENTION = ".*attn.*"

_ATTENTION = re.compile(r"(?:self_attn|attention)(?:[.*$]|\.?(?:q|k|v|o|qkv)_proj|$)")
_STATES = re.compile(r"(?:linear_attn|mamba|mixer)(?:[.*$]|\.?(?:in|out)_proj\w*|$)")
_MLP = re.compile(r"\bmlp(?:[*$]|\.[*$]|\.?(?:gate|up|down|gate_up)_proj|$)")
_SHARED = re.compile(r"shared_experts?(?!_gate)")
_LAYER = re.compile(r"layers\.(\d{1,9})\b")
_WHOLE = 2
"""So many projections of a layer named make all of its attention, or of its MLP, plain."""


def shares_of(names: list[str], model: Model) -> Shares:
    """Return which parts of how many layers a list of module names and patterns covers."""
    layers = model.layers
    attend = sum(layer.attends and layer.keeps is not Keeps.STATE for layer in layers)
    experts = sum(layer.feed is Feed.EXPERTS for layer in layers)
    # Gemma 4 has an MLP beside its experts.
    mlps = len(layers) - experts or len(layers)
    return Shares(
        attention=_share(names, _ATTENTION, attend),
        states=_share(names, _STATES, sum(layer.keeps is Keeps.STATE for layer in layers)),
        mlp=_share([name for name in names if "expert" not in name], _MLP, mlps),
        shared=_share(names, _SHARED, experts),
    )


def _share(names: list[str], part: re.Pattern[str], layers: int) -> float:
    """Return the share of layers: 1 for a pattern of all of them, else those that are named."""
    counts: Counter[str] = Counter()
    for entry in names:
        found = part.search(entry)
        if found is not None:
            layer = _LAYER.search(entry)
            whole = not found[0].endswith("_proj")
            counts[layer[1] if layer else ""] += _WHOLE if whole else 1
    if counts[""] >= _WHOLE:
        return 1.0
    return min(1.0, sum(count >= _WHOLE for count in counts.values()) / max(1, layers))


def bits_by_module(own: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return the modules with bits of their own and these; none where one format is for all.

    ModelOpt names an algorithm for each module, compressed-tensors has groups with targets.
    """
    modules = own.get("quantized_layers")
    if isinstance(modules, Mapping):
        return [
            (str(name), _algorithm_bits(str(how.get("quant_algo"))))
            for name, how in modules.items()
            if isinstance(how, Mapping) and not str(name).startswith("mtp")
        ]
    groups = own.get("config_groups")
    if not isinstance(groups, Mapping) or len(groups) < _SEVERAL:
        return []
    return [
        (str(target), _weight_bits(group.get("weights")))
        for group in groups.values()
        if isinstance(group, Mapping)
        for target in group.get("targets") or ()
        if not str(target).startswith("mtp")
    ]


_SEVERAL = 2
NVFP4_BITS = 4.5
"""NVFP4: 4 bits and an 8-bit scale for 16 of them."""

NARROW = 6
"""What has fewer bits is stored in 4, what has more in 8."""


def _algorithm_bits(name: str) -> float:
    return NVFP4_BITS if "FP4" in name.upper() else 8.0


def _weight_bits(weights: object) -> float:
    if not isinstance(weights, Mapping):
        return 8.0
    bits, group = weights.get("num_bits"), weights.get("group_size")
    if not isinstance(bits, int) or bits > NARROW:
        return 8.0
    if weights.get("type") == "float":
        return NVFP4_BITS
    return bits + (16 / group if isinstance(group, int) and group > 0 else 0.0)
