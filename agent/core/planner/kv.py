# SPDX-License-Identifier: Apache-2.0
"""How many tokens a pool of bytes holds: vLLM's blocks and groups of layers.

Follows v1/core/kv_cache_utils of vLLM 0.9..0.32: layers of one kind form groups of equal size, a
block is one page of each layer of a group, and every group takes blocks of its own for a request.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

from agent.core.engine.names import dtype_bytes
from agent.core.planner.layers import Keeps, Layer
from agent.core.planner.model import Model
from agent.core.planner.pool import CacheGroup, Kv
from agent.core.planner.versions import (
    HYBRID_CHUNKS,
    HYBRID_WINDOWS,
    KV_AS_CHECKPOINT,
    LATENTS,
    Version,
)

BLOCK_TOKENS = 16
"""vLLM's block size on CUDA; hybrid models are given a larger one."""

LATENT_BLOCK_STEP = 128
"""What blocks of a latent beside states are a multiple of."""

KV_BITS = {"nvfp4": 4.5, "int4": 4.25, "int8": 8.5}
"""KV formats with scales beside the elements, in bits an element."""

FP8_MLA_BYTES = 656
"""fp8_ds_mla: 512 bytes of latent, scales and the 16-bit rope part, a token and layer."""

OLD_HEAD = 256
"""What vLLM before 0.7 padded DeepSeek's keys and values to."""

OLD_LATENT = 640
"""What 0.7 padded a latent of 576 to, for aligned reads."""


def kv_of(
    model: Model,
    kv_cache_dtype: str,
    tensor_parallel_size: int,
    pipeline_parallel_size: int,
    in_flight_tokens: int,
    version: Version,
) -> Kv:
    """Return the cache of the GPU that holds most layers."""
    whole = fullest_stage(model, pipeline_parallel_size)
    stage = tuple(_as_cached(layer, model, version) for layer in whole)
    element = kv_element_bytes(model, kv_cache_dtype, version)
    tokens = [_token_bytes(x, element, tensor_parallel_size, kv_cache_dtype) for x in stage]
    states = [
        (layer.state_elements * layer.state_bytes + layer.conv_elements * model.dtype_bytes)
        / tensor_parallel_size
        for layer in stage
        if layer.keeps is Keeps.STATE
    ]
    growing = [n for n, x in zip(tokens, stage, strict=True) if _grows(x)]
    # Where every layer has a window, a token costs what it costs within the window.
    per_token = sum(growing) or sum(tokens)
    states_of_a_request = 0.0
    if states and version.states_apart:
        states_of_a_request, states = sum(states), []
    page = max((n for n in tokens if n), default=0.0)
    block = BLOCK_TOKENS
    if states and page:
        latent = any(layer.keeps is Keeps.LATENT for layer in stage)
        step = LATENT_BLOCK_STEP if latent else BLOCK_TOKENS
        block = math.ceil(max(states) / page / step) * step
    kinds: Counter[tuple[Keeps, int, int]] = Counter()
    for layer, size in zip(stage, tokens, strict=True):
        if layer.keeps is Keeps.NOTHING or (layer.keeps is Keeps.STATE and not states):
            continue
        # Pages are equal: where a token takes less, a block holds more tokens.
        even = size > 0 and page % size == 0
        kinds[layer.keeps, layer.span, block * int(page / size) if even else block] += 1
    uniform = len({(keeps, span) for keeps, span, _ in kinds}) == 1
    size, groups = _groups(kinds)
    if uniform:
        # Layers that need the same slots form one group, of pages of whatever size.
        ((keeps, span),) = {(keeps, span) for keeps, span, _ in kinds}
        groups = (CacheGroup(keeps, span, 1, block),)
        block_bytes = block * sum(tokens) if page else sum(states)
    else:
        block_bytes = size * block * page if page else size * max(states, default=0.0)
    return Kv(
        bytes_per_token=per_token,
        block_tokens=block,
        block_bytes=block_bytes,
        groups=groups,
        state_blocks=version.state_blocks,
        in_flight_tokens=in_flight_tokens,
        state_bytes=states_of_a_request,
    )


def kv_element_bytes(model: Model, kv_cache_dtype: str, version: Version) -> float:
    """Return the bytes of one cached number; "auto" follows the model, or the checkpoint's word."""
    name = kv_cache_dtype.lower()
    if name == "auto":
        asked = model.quantization_config
        scheme = asked.get("kv_cache_scheme") or asked.get("kv_cache_quant_algo") == "FP8"
        if scheme and version.release >= KV_AS_CHECKPOINT:
            return 1
        return model.dtype_bytes
    if name in KV_BITS:
        return KV_BITS[name] / 8
    if name.startswith("fp8"):
        return 1
    return dtype_bytes(name) or model.dtype_bytes


def fullest_stage(model: Model, stages: int) -> tuple[Layer, ...]:
    """Return the layers of the pipeline stage that holds most; vLLM spares the last stage."""
    if stages <= 1:
        return model.layers
    return model.layers[: math.ceil(len(model.layers) / stages)]


def _as_cached(layer: Layer, model: Model, version: Version) -> Layer:
    """Return the layer as this vLLM caches it: older ones keep more of a request."""
    match layer.keeps:
        case Keeps.WINDOW if version.release < HYBRID_WINDOWS and not _all_alike(model):
            return replace(layer, keeps=Keeps.TOKENS, span=0)
        case Keeps.CHUNK if version.release < HYBRID_CHUNKS:
            return replace(layer, keeps=Keeps.TOKENS, span=0)
        case Keeps.LATENT if version.release < LATENTS:
            return replace(layer, keeps=Keeps.TOKENS, kv_heads=model.heads, kv_width=2 * OLD_HEAD)
        case Keeps.LATENT if version.release[:2] == LATENTS:
            return replace(layer, kv_width=max(layer.kv_width, OLD_LATENT))
        case _:
            return layer


def _all_alike(model: Model) -> bool:
    return len({(layer.keeps, layer.span) for layer in model.layers}) == 1


def _token_bytes(layer: Layer, element: float, tp: int, dtype: str) -> float:
    if layer.keeps is Keeps.LATENT:
        # A sparse indexer goes with a format of its own where fp8 is asked for.
        packed = dtype == "fp8_ds_mla" or (layer.index_bytes and dtype.startswith("fp8"))
        return (FP8_MLA_BYTES if packed else layer.kv_width * element) + layer.index_bytes
    # Fewer heads than GPUs: each GPU keeps a copy of one.
    return max(1, math.ceil(layer.kv_heads / tp)) * layer.kv_width * element


def _grows(layer: Layer) -> bool:
    return layer.keeps in (Keeps.TOKENS, Keeps.LATENT)


def _groups(kinds: Counter[tuple[Keeps, int, int]]) -> tuple[int, tuple[CacheGroup, ...]]:
    """Return the layers of a group and the groups of each kind."""
    if not kinds:
        return 0, ()
    fewest, most = min(kinds.values()), max(kinds.values())
    # A little padding is cheaper than many groups.
    size = most if most < 1.25 * fewest else fewest
    groups = (
        CacheGroup(keeps, span, math.ceil(count / size), tokens)
        for (keeps, span, tokens), count in kinds.items()
    )
    return size, tuple(groups)
