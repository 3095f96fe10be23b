# SPDX-License-Identifier: Apache-2.0
"""The bytes of a model's weights on its fullest GPU, by counting parameters.

Linear layers are quantized, embeddings, output head, norms and routers stay as the checkpoint has
them (AWQ, GPTQ, FP8, compressed-tensors, bitsandbytes; vLLM 0.6.3..0.32).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from agent.core.planner.kv import fullest_stage
from agent.core.planner.layers import Feed, Keeps, Layer
from agent.core.planner.model import Model

GIB = 1024**3

NF4_BITS = 4.25
"""bitsandbytes: 4 bits, a 32-bit scale for 64 of them, the scales quantized again in part."""

MXFP4_PADDING = 256
"""MXFP4 kernels pad an expert's width to a multiple of this (gpt-oss: 2880 to 3072)."""


UNKNOWN_SHARE = 0.25
"""How far off the count of a family may be that was held against no checkpoint."""


class UnknownQuantizationError(ValueError):
    """The method has no known size; the message says what to give instead."""


@dataclass(frozen=True, slots=True)
class Weights:
    """`gib` on the fullest GPU, give or take `error_gib`; `how` is the arithmetic in words."""

    gib: float
    error_gib: float
    how: str


@dataclass(frozen=True, slots=True)
class Format:
    """How linear layers are stored: bits an element with scales.

    `experts_only`: all but the experts stay plain (MXFP4); `attention_plain`: the attention does;
    `shared_plain`: so do the MLPs beside the experts.
    """

    name: str
    bits: float
    experts_only: bool = False
    attention_plain: bool = False
    shared_plain: bool = False


def format_of(model: Model, quantization: str | None) -> Format:
    """Return the format that vLLM loads: the checkpoint's own, else the one that is asked for.

    Raises UnknownQuantizationError for a method whose size is not known.
    """
    own = model.quantization_config
    if own:
        left = _left_plain(own)
        shared = any("shared_expert" in entry for entry in left)
        chosen = _checkpoint_format(own)
        return replace(chosen, attention_plain=_leaves_attention(left), shared_plain=shared)
    name = (quantization or "none").lower()
    if name in {"none", "auto"}:
        return Format("unquantized", 8.0 * model.dtype_bytes)
    if name.startswith(("fp8", "int8", "experts_int8", "ptpc")):
        return Format(f"{name}, converted at load", 8.0)
    if name in {"bitsandbytes", "bnb"}:
        return Format("bitsandbytes NF4, converted at load", NF4_BITS)
    return _named_format(name)


def _left_plain(own: Mapping[str, Any]) -> list[str]:
    """Return the modules that a checkpoint leaves unquantized, names or patterns."""
    for name in ("modules_to_not_convert", "ignore", "ignored_layers", "exclude_modules"):
        left = own.get(name)
        if isinstance(left, list) and left:
            return [str(entry) for entry in left]
    return []


def _leaves_attention(left: list[str]) -> bool:
    parts = [entry.rpartition("self_attn")[1:] for entry in left]
    # "re:.*self_attn.*" and "model.layers.0.self_attn*" are the whole of it, too.
    whole = [rest for found, rest in parts if found and not rest.strip(".*$")]
    projections = [rest for found, rest in parts if found and rest.endswith("o_proj")]
    return bool(whole) or len(projections) > 1


def _named_format(name: str) -> Format:
    family = name.replace("auto_", "").replace("_marlin", "")
    if family in {"awq", "gptq", "auto-round", "wna16", "marlin"}:
        return Format(name, _grouped_bits(4, 128))
    if family in {"nvfp4", "modelopt_fp4", "modelopt"}:
        return Format(name, 4.5)
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
        return Format(f"{method} {bits} bits, groups of {group}", _grouped_bits(bits, group))
    if method.startswith("fp8") or method == "fbgemm_fp8":
        return Format("fp8", 8.0)
    if method == "mxfp4":
        return Format("mxfp4", 4.25, experts_only=True)
    if method in {"bitsandbytes", "bnb"}:
        return Format("bitsandbytes", NF4_BITS if own.get("load_in_4bit", True) else 8.0)
    if method in {"compressed-tensors", "compressed_tensors"}:
        return _compressed_format(own)
    if method.startswith(("modelopt", "nvfp4")):
        algorithm = str(own.get("quant_algo") or "").upper()
        return Format("modelopt FP8", 8.0) if algorithm == "FP8" else Format("NVFP4", 4.5)
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
        return Format(name, 4.5)
    group = weights.get("group_size")
    scales = 16 / int(group) if isinstance(group, int) and group > 0 else 0.0
    return Format(name, bits + scales)


def _grouped_bits(bits: int, group: int) -> float:
    # A 16-bit scale and a zero point of the weights' own width for each group.
    return bits + (16 + bits) / group if group > 0 else float(bits)


def counted(
    model: Model, quantization: str | None, tensor_parallel_size: int, stages: int
) -> Weights:
    """Return the weights of the fullest GPU by counting; within 2 % of what vLLM prints."""
    chosen = format_of(model, quantization)
    plain = 8.0 * model.dtype_bytes
    layers = fullest_stage(model, stages)
    mixers = sum(_mixer(model, layer) for layer in layers)
    dense = sum(_dense(model, layer) for layer in layers)
    experts = sum(_expert_layer(model, layer, chosen) for layer in layers)
    linear_bits = plain if chosen.experts_only else chosen.bits
    mixer_bits = plain if chosen.attention_plain else linear_bits
    shared_plain = chosen.shared_plain and model.experts is not None
    norms = (4 * model.hidden_size) * len(layers)
    routers = (model.experts.count if model.experts else 0) * model.hidden_size * len(layers)
    absorbed = sum(
        model.latent.absorbed(model.heads)
        for layer in layers
        if layer.keeps is Keeps.LATENT and model.latent is not None
    )
    parts = (
        ("attention", mixers * mixer_bits / tensor_parallel_size),
        ("absorbed latent", absorbed * plain / tensor_parallel_size),
        ("MLP", dense * (plain if shared_plain else linear_bits) / tensor_parallel_size),
        ("experts", experts * chosen.bits / tensor_parallel_size),
        ("embeddings", _embeddings(model, stages) * plain / tensor_parallel_size),
        ("norms and routers", (norms + routers) * plain),
        ("encoder", model.encoder_parameters * plain / tensor_parallel_size),
        ("rotary table", model.max_position * model.rotary_dim * plain),
    )
    gib = sum(bits for _, bits in parts) / 8 / GIB
    words = ", ".join(
        f"{name} {bits / 8 / GIB:.2f}" for name, bits in parts if bits / 8 / GIB > 0.005
    )
    error = 0.02 * gib + (0.3 if model.encodes else 0.0)
    if model.known:
        return Weights(gib, error, f"{chosen.name}: {words}")
    how = f"{model.architecture} is counted as a plain transformer: {words}"
    return Weights(gib, error + UNKNOWN_SHARE * gib, how)


def _mixer(model: Model, layer: Layer) -> float:
    """Return the parameters of attention or of what stands in its place."""
    if layer.weights or not layer.attends:
        return layer.weights
    if model.latent is not None:
        return model.latent.parameters(model.hidden_size, model.heads)
    hidden, queries = model.hidden_size, layer.queries or model.heads * model.head_dim
    gate = 2 if model.gated_attention else 1
    # A layer that reads another's cache has no keys and values of its own.
    cached = 0 if layer.keeps is Keeps.NOTHING else layer.kv_heads * layer.kv_width
    return hidden * (gate * queries + cached) + queries * hidden


def _dense(model: Model, layer: Layer) -> float:
    """Return the parameters of an MLP, or of the shared expert beside the others."""
    match layer.feed:
        case Feed.NOTHING:
            return 0
        case Feed.EXPERTS:
            wide = model.experts.shared_intermediate_size if model.experts else 0
        case Feed.MLP:
            wide = layer.inner or model.intermediate_size
    return (3 if model.gated_mlp else 2) * model.hidden_size * wide


def _expert_layer(model: Model, layer: Layer, chosen: Format) -> float:
    experts = model.experts
    if layer.feed is not Feed.EXPERTS or experts is None:
        return 0
    matrices = 3 if model.gated_mlp else 2
    inner = experts.intermediate_size
    if chosen.experts_only:
        inner = math.ceil(inner / MXFP4_PADDING) * MXFP4_PADDING
    width = experts.width or model.hidden_size
    bridge = 2 * model.hidden_size * experts.width
    return matrices * experts.count * width * inner + bridge


def _embeddings(model: Model, stages: int) -> float:
    # vLLM pads the vocabulary to a multiple of 64; with stages, the first and last hold one each.
    one = math.ceil(model.vocab_size / 64) * 64 * model.hidden_size
    rows = one if model.tied_embeddings or stages > 1 else 2 * one
    return rows + model.side_parameters
