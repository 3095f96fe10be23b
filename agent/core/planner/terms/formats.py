# SPDX-License-Identifier: Apache-2.0
"""How a checkpoint's linear layers are stored: bits an element, and what stays in 16 bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agent.core.planner.model import Model
from agent.core.planner.terms.parts import (
    NARROW,
    NONE,
    NVFP4_BITS,
    Shares,
    bits_by_module,
    left_plain,
    shares_of,
)
from agent.core.record import dataclass

NF4_BITS = 4.25
"""bitsandbytes: 4 bits, a 32-bit scale for 64 of them, the scales quantized again in part."""


class UnknownQuantizationError(ValueError):
    """The method has no known size; the message says what to give instead."""


ALL_BUT_EXPERTS = Shares(attention=1.0, states=1.0, shared=1.0)
"""What checkpoints in 4-bit floats leave in 16 bits at most (ModelOpt's and llm-compressor's)."""


A_SHARE = Shares(attention=0.3, states=0.3, mlp=0.3, shared=0.3)
"""What "dynamic" copies leave in 16 bits at most where no list says which: unsloth's of
Qwen2.5-0.5B leaves a seventh of its linear layers."""


@dataclass(frozen=True, slots=True)
class Format:
    """How linear layers are stored: bits an element with scales.

    `experts_only`: all but the experts stay plain (MXFP4); `plain` is what else the checkpoint
    leaves in 16 bits, and `at_most` what it may leave where nothing tells which parts it does.
    `eight` is what is in 8 bits beside 4, `head_bits` the output head's, 0 where it is plain.
    `block` is the side of the square that shares a scale in block-FP8, `group` the numbers of
    one row that do in AWQ and GPTQ; 0 where splits need no regard to them.
    """

    name: str
    bits: float
    experts_only: bool = False
    plain: Shares = NONE
    eight: Shares = NONE
    at_most: Shares | None = None
    head_bits: float = 0.0
    block: int = 0
    group: int = 0

    def stored(self, plain_bits: float, plain: float, eight: float) -> float:
        """Return the mean bits of a part of which these shares are plain and in 8 bits."""
        rest = plain_bits if self.experts_only else self.bits
        return plain * plain_bits + eight * 8 + (1 - plain - eight) * rest


def format_of(model: Model, quantization: str | None) -> Format:
    """Return the format that vLLM loads: the checkpoint's own, else the one that is asked for.

    Raises UnknownQuantizationError for a method whose size is not known.
    """
    own = model.quantization_config
    if own:
        left = left_plain(own)
        modules = bits_by_module(own)
        if modules:
            return _mixed(modules, left, model)
        chosen = _checkpoint_format(own)
        if left:
            return replace(chosen, plain=shares_of(left, model))
        # ModelOpt's own files name at least the output head: none named is a name, not a file.
        unsaid = chosen.bits == NVFP4_BITS
        return replace(chosen, at_most=ALL_BUT_EXPERTS) if unsaid else chosen
    name = (quantization or "none").lower()
    if name in {"none", "auto"}:
        return Format("unquantized", 8.0 * model.dtype_bytes)
    if name.startswith(("fp8", "int8", "experts_int8", "ptpc")):
        return Format(f"{name}, converted at load", 8.0)
    if name in {"bitsandbytes", "bnb"}:
        return Format("bitsandbytes NF4, converted at load", NF4_BITS)
    return _named_format(name)


def _mixed(modules: list[tuple[str, float]], left: list[str], model: Model) -> Format:
    """Return the format of a checkpoint that stores some modules in 4 and others in 8 bits."""
    narrow = [name for name, bits in modules if bits < NARROW]
    wide = [name for name, bits in modules if bits >= NARROW]
    routed = [bits for name, bits in modules if "experts" in name and "shared" not in name]
    least = min(bits for _, bits in modules)
    eight = shares_of(wide, model)
    # A group of all linear layers leaves what is named and no more.
    rest = eight.beside(shares_of(narrow, model))
    plain = shares_of(left, model) if "Linear" in narrow else rest
    head = next((bits for name, bits in modules if "lm_head" in name), 0.0)
    name = f"mixed, {least:g} and 8 bits" if narrow and wide else f"{least:g} bits by module"
    return Format(name, routed[0] if routed else least, plain=plain, eight=eight, head_bits=head)


def _named_format(name: str) -> Format:
    family = name.replace("auto_", "").replace("_marlin", "")
    if family in {"awq", "gptq", "auto-round", "wna16", "marlin"}:
        return Format(name, _grouped_bits(4, 128), group=128)
    if family in {"nvfp4", "modelopt_fp4", "modelopt"}:
        return Format(name, NVFP4_BITS, at_most=ALL_BUT_EXPERTS)
    if family == "mxfp4":
        return Format(name, 4.25, experts_only=True)
    raise UnknownQuantizationError(
        f"quantization {name!r} has no known size: give the weights' size with --weights-gib"
    )


def _checkpoint_format(own: Mapping[str, Any]) -> Format:
    method = str(own.get("quant_method") or own.get("quant_algo") or "").lower()
    if method in {"awq", "gptq", "auto-round", "auto_round", "gptq_marlin", "awq_marlin"}:
        bits = int(own.get("bits") or own.get("w_bit") or 4)
        group = int(own.get("group_size") or own.get("q_group_size") or 128)
        name = f"{method} {bits} bits, groups of {group}"
        return Format(name, _grouped_bits(bits, group), group=max(0, group))
    if method.startswith("fp8") or method == "fbgemm_fp8":
        return Format("fp8", 8.0, block=block_of(own))
    if method == "deepseek_v4_fp8":
        return Format("fp8", 8.0, block=block_of(own))
    if method == "mxfp4":
        return Format("mxfp4", 4.25, experts_only=True)
    if method in {"bitsandbytes", "bnb"}:
        wide = NF4_BITS if own.get("load_in_4bit", True) else 8.0
        return Format("bitsandbytes", wide, at_most=A_SHARE if own.get("dynamic") else None)
    if method in {"compressed-tensors", "compressed_tensors"}:
        return _compressed_format(own)
    if method.startswith(("modelopt", "nvfp4")):
        algorithm = str(own.get("quant_algo") or "").upper()
        return Format("modelopt FP8", 8.0) if algorithm == "FP8" else Format("NVFP4", NVFP4_BITS)
    return _named_format(method or "unnamed")


def _compressed_format(own: Mapping[str, Any]) -> Format:
    groups = own.get("config_groups")
    first: object = next(iter(groups.values()), {}) if isinstance(groups, Mapping) else {}
    weights = first.get("weights") if isinstance(first, Mapping) else None
    if not isinstance(weights, Mapping):
        return Format("compressed-tensors", 8.0)
    bits = int(weights.get("num_bits") or 8)
    name = f"compressed-tensors {weights.get('type', 'int')}{bits}"
    if bits == 4 and weights.get("type") == "float":
        return Format(name, NVFP4_BITS)
    group = weights.get("group_size")
    grouped = int(group) if isinstance(group, int) and group > 0 else 0
    return Format(
        name,
        bits + (16 / grouped if grouped else 0.0),
        block=block_of({"weight_block_size": weights.get("block_structure")}),
        group=grouped if bits < 8 else 0,
    )


def _grouped_bits(bits: int, group: int) -> float:
    # A 16-bit scale and a zero point of the weights' own width for each group.
    return bits + (16 + bits) / group if group > 0 else float(bits)


def block_of(own: Mapping[str, Any]) -> int:
    """Return the side of block-FP8's squares; 0 where scales are of a tensor or a channel."""
    block = own.get("weight_block_size")
    sides = [side for side in block if isinstance(side, int)] if isinstance(block, list) else []
    return max(sides, default=0)
