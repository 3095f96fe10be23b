# SPDX-License-Identifier: Apache-2.0
"""The bytes of a model's weights on its fullest GPU, by counting parameters.

Linear layers are quantized, embeddings, output head, norms and routers stay as the checkpoint has
them (AWQ, GPTQ, FP8, compressed-tensors, bitsandbytes; vLLM 0.6.3..0.32).
"""

from __future__ import annotations

import math
from dataclasses import replace

from agent.core.measures import GIB
from agent.core.planner.kv import fullest_stage, holds_embeddings
from agent.core.planner.layers import Feed, Keeps, Layer
from agent.core.planner.model import Model
from agent.core.planner.terms.blocks import in_blocks
from agent.core.planner.terms.formats import Format, format_of
from agent.core.planner.terms.kernels import ANY_KERNELS, Kernels
from agent.core.planner.terms.parts import Shares
from agent.core.record import dataclass

MXFP4_PADDING = 256
"""MXFP4 kernels pad an expert's width to a multiple of this (gpt-oss: 2880 to 3072)."""

MXFP4_UNSURE = 0.025
"""How far the kernels of MXFP4 lie from each other, as a share of the weights."""

SCALE_BITS = 16

ROUNDING_GIB = 0.03
"""What scales, biases and the allocator's blocks add, which shows in small models."""

COUNT_SHARE, SPLIT_SHARE, NAME_SHARE = 0.006, 0.006, 0.01
"""How far a count may be off; what padding and copies add where GPUs share, and what a format adds
that only a name tells."""

ENCODER_GIB = 0.15
"""The same for what encoders have beside their layers."""

MULTIMODAL_ROPE = (
    "Qwen2VL",
    "Qwen2_5_VL",
    "Qwen2_5Omni",
    "Qwen3VL",
    "Qwen3_5",
    "Qwen3Omni",
    "Glm4v",
)
ENLARGED = 4
"""vLLM's multimodal rotary table has so many times the positions of the configuration: a video's
last index may lie behind them (Qwen3-VL-2B prints 4.24 GiB, Qwen3.5-9B 17.66)."""

ROPE_BY_WIDTH = "Gemma4"
"""Layers whose heads have another width have a rotary table of their own, as wide as the head
(Gemma4RotaryEmbedding of 0.19..0.33): 0.25 GiB more of gemma-4-26B and 31B."""

GROUPS_SHARE = 0.06
"""How far 4-bit weights may be off where a publisher's groups have 32 numbers or 128: 4.63 bits
against 4.16, and what stays in 16 bits is the same."""

UNKNOWN_SHARE = 0.25
"""How far off the count of a family may be that was held against no checkpoint."""


@dataclass(frozen=True, slots=True)
class Weights:
    """`gib` on the fullest GPU, give or take `error_gib`; `how` is the arithmetic in words."""

    gib: float
    error_gib: float
    how: str


def counted(
    model: Model,
    quantization: str | None,
    tensor_parallel_size: int,
    stages: int,
    kernels: Kernels = ANY_KERNELS,
) -> Weights:
    """Return the weights of the fullest GPU by counting; within 2 % of what vLLM prints.

    Where nothing tells what a checkpoint leaves in 16 bits, the count lies half way between
    nothing and all that it may leave, and the error spans both.
    """
    chosen = format_of(model, quantization)
    if chosen.block and kernels.scales_rows:
        chosen = replace(chosen, bits=chosen.bits + SCALE_BITS / chosen.block)
    parts = _parts(model, chosen, tensor_parallel_size, stages, kernels.hidden_step)
    gib = _gib(parts)
    words = ", ".join(f"{name} {size:.2f}" for name, size in parts if size > 0.005)
    share = COUNT_SHARE + (SPLIT_SHARE if tensor_parallel_size > 1 else 0.0)
    share += NAME_SHARE if model.quantization_config.get("by_name") else 0.0
    share += GROUPS_SHARE if model.quantization_config.get("groups_vary") else 0.0
    error = share * gib + ROUNDING_GIB + (ENCODER_GIB if model.encodes else 0.0)
    name = chosen.name
    if chosen.at_most is not None:
        heavy = replace(chosen, plain=chosen.at_most, at_most=None)
        most = _gib(_parts(model, heavy, tensor_parallel_size, stages, kernels.hidden_step))
        words = f"{words}; up to {most:.2f} GiB where the attention stays in 16 bits"
        error += (most - gib) / 2
        gib = (gib + most) / 2
    if chosen.experts_only and kernels.unsure:
        error += MXFP4_UNSURE * gib
    if model.known:
        return Weights(gib, error, f"{name}: {words}")
    how = f"{model.architecture} is counted as a plain transformer: {words}"
    return Weights(gib, error + UNKNOWN_SHARE * gib, how)


def repacked_gib(model: Model, quantization: str | None, tensor_parallel_size: int) -> float:
    """Return the GiB of one layer's grouped 4- or 8-bit weights outside its experts; 0 for others.

    These are packed anew once they are loaded, a layer after the other (AWQ, GPTQ and the like).
    """
    chosen = format_of(model, quantization)
    if not chosen.group or not model.layers:
        return 0.0
    parts = dict(_parts(model, chosen, tensor_parallel_size, 1, ANY_KERNELS.hidden_step))
    return (parts["attention"] + parts["MLP"]) / len(model.layers)


def _gib(parts: tuple[tuple[str, float], ...]) -> float:
    return sum(size for _, size in parts)


def _parts(
    model: Model, chosen: Format, tensor_parallel_size: int, stages: int, hidden_step: int
) -> tuple[tuple[str, float], ...]:
    """Return each part's name and its GiB on the fullest GPU."""
    plain, tp = 8.0 * model.dtype_bytes, tensor_parallel_size
    layers = fullest_stage(model, stages)
    mixers = sum(
        _mixer(model, layer, tp)
        * chosen.stored(plain, _of_mixer(layer, chosen.plain), _of_mixer(layer, chosen.eight))
        for layer in layers
    )
    dense = sum(
        _dense(model, layer)
        * chosen.stored(
            plain, _of_dense(model, layer, chosen.plain), _of_dense(model, layer, chosen.eight)
        )
        for layer in layers
    )
    experts = sum(_expert_layer(model, layer, chosen, hidden_step) for layer in layers)
    rounded = sum(_rounding(model, layer, chosen, tp) for layer in layers)
    norms = (4 * model.hidden_size) * len(layers)
    routers = (model.experts.count if model.experts else 0) * model.hidden_size * len(layers)
    absorbed = sum(
        model.latent.absorbed(model.heads)
        for layer in layers
        if layer.keeps is Keeps.LATENT and model.latent is not None
    )
    bits = (
        ("attention", mixers),
        ("absorbed latent", absorbed * plain / tp),
        ("MLP", dense / tp),
        ("experts", experts * (model.expert_bits or chosen.bits) / tp),
        ("embeddings", _embeddings(model, stages, chosen.head_bits / plain) * plain / tp),
        ("norms and routers", (norms + routers) * plain),
        ("encoder", model.encoder_parameters * plain / tp),
        ("positions", model.max_position * _position_width(model) * plain),
        ("the allocator's blocks", 8.0 * rounded),
    )
    return tuple((name, size / 8 / GIB) for name, size in bits)


def _position_width(model: Model) -> int:
    """Return the numbers of one position: of rotary tables, or of an encoder's embedding."""
    if model.encoder_only:
        return model.hidden_size
    if model.architecture.startswith(ROPE_BY_WIDTH):
        return sum({layer.kv_width // 2 for layer in model.layers if layer.kv_width})
    enlarged = model.architecture.startswith(MULTIMODAL_ROPE)
    return model.rotary_dim * (ENLARGED if enlarged else 1)


def _of_mixer(layer: Layer, shares: Shares) -> float:
    return shares.states if layer.keeps is Keeps.STATE else shares.attention


def _of_dense(model: Model, layer: Layer, shares: Shares) -> float:
    """Gemma 4 calls the MLP beside its experts `mlp`, as others call that of a dense layer."""
    shared = layer.feed is Feed.EXPERTS and not model.architecture.startswith("Gemma4")
    return shares.shared if shared else shares.mlp


def _rounding(model: Model, layer: Layer, chosen: Format, tp: int) -> float:
    """Return the bytes that the allocator adds to one layer's matrices, as far as these are told.

    Half of Qwen2.5-14B is 13.79 GiB, and vLLM prints 13.95 of it on each of two GPUs.
    """
    plain = 8.0 * model.dtype_bytes
    mixer = chosen.stored(plain, _of_mixer(layer, chosen.plain), _of_mixer(layer, chosen.eight))
    dense = chosen.stored(
        plain, _of_dense(model, layer, chosen.plain), _of_dense(model, layer, chosen.eight)
    )
    wide = _dense(model, layer) / tp
    down = wide / (3 if model.gated_mlp else 2)
    attention = _attention(model, layer, tp) if _is_attention(model, layer) else ()
    matrices = [(size, mixer) for size in attention] + [(wide - down, dense), (down, dense)]
    return sum(in_blocks(size * int(bits) / 8) - size * int(bits) / 8 for size, bits in matrices)


def _is_attention(model: Model, layer: Layer) -> bool:
    return layer.attends and not layer.weights and model.latent is None


def _mixer(model: Model, layer: Layer, tp: int) -> float:
    """Return one GPU's parameters of attention or of what stands in its place."""
    if layer.weights or not layer.attends:
        return layer.weights / tp
    if model.latent is not None:
        return model.latent.parameters(model.hidden_size, model.heads, tp)
    return sum(_attention(model, layer, tp))


def _attention(model: Model, layer: Layer, tp: int) -> tuple[float, float]:
    """Return one GPU's parameters of the projections into attention, which are one, and out."""
    hidden, queries = model.hidden_size, layer.queries or model.heads * model.head_dim
    gate = 2 if model.gated_attention else 1
    # A layer that reads another's cache has no keys and values of its own; with fewer heads than
    # GPUs each GPU has a copy of one.
    heads = 0 if layer.keeps is Keeps.NOTHING else max(1, layer.kv_heads / tp)
    output = layer.output or queries
    return hidden * (gate * queries / tp + heads * layer.kv_width), output * hidden / tp


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


def _expert_layer(model: Model, layer: Layer, chosen: Format, hidden_step: int) -> float:
    experts = model.experts
    if layer.feed is not Feed.EXPERTS or experts is None:
        return 0
    matrices = 3 if model.gated_mlp else 2
    inner = experts.intermediate_size
    width = experts.width or model.hidden_size
    if chosen.experts_only:
        inner = math.ceil(inner / MXFP4_PADDING) * MXFP4_PADDING
        width = math.ceil(width / hidden_step) * hidden_step
    bridge = 2 * model.hidden_size * experts.width
    return matrices * experts.count * width * inner + bridge


def _embeddings(model: Model, stages: int, head: float) -> float:
    """Return the plain numbers that embeddings and output head take; `head` is its share of one."""
    # vLLM pads the vocabulary to a multiple of 64; with stages, the first and last hold one each.
    one = math.ceil(model.vocab_size / 64) * 64 * model.hidden_size
    if not holds_embeddings(model, stages):
        return model.side_parameters
    alone = model.tied_embeddings or stages > 1 or model.encoder_only
    return one * (1 if alone else 1 + (head or 1)) + model.side_parameters
