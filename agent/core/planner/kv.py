# SPDX-License-Identifier: Apache-2.0
"""How many tokens a pool of bytes holds: vLLM's blocks and groups of layers.

Follows v1/core/kv_cache_utils of vLLM 0.9..0.32: layers of one kind form groups of equal size, a
block is one page of each layer of a group, and every group takes blocks of its own for a request.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from itertools import accumulate

from agent.core.engine.names import dtype_bytes
from agent.core.planner.layers import Feed, Keeps, Layer
from agent.core.planner.model import Model
from agent.core.planner.pool import CacheGroup, Kv
from agent.core.planner.question import PlanRequest
from agent.core.planner.terms.cache_format import PACKED, cached_as
from agent.core.planner.terms.compressed import compressed_kv
from agent.core.planner.versions import (
    HYBRID_CHUNKS,
    HYBRID_WINDOWS,
    LATENTS,
    Version,
)
from agent.core.record import dataclass

BLOCK_TOKENS = 16
"""vLLM's block size on CUDA; hybrid models are given a larger one."""

LATENT_BLOCK_STEP = 128
"""What blocks of a latent beside states are a multiple of."""

KV_BITS = {"nvfp4": 4.5, "int4": 4.25, "int8": 8.5}
"""KV formats with scales beside the elements, in bits an element."""

FP8_MLA_BYTES = 656
"""fp8_ds_mla: 512 bytes of latent, scales and the 16-bit rope part, a token and layer."""

_GROWS = (Keeps.TOKENS, Keeps.LATENT)

OLD_HEAD = 256
"""What vLLM before 0.7 padded DeepSeek's keys and values to."""

OLD_LATENT = 640
"""What 0.7 padded a latent of 576 to, for aligned reads."""


@dataclass(frozen=True, slots=True)
class _Cached:
    """A layer and what one GPU keeps of it: bytes of one token, bytes of one request's state."""

    layer: Layer
    token_bytes: float
    state_bytes: float


def kv_of(model: Model, request: PlanRequest, in_flight_tokens: int) -> Kv:
    """Return the cache of the GPU that holds most layers.

    vLLM cuts the pool into blocks of equal bytes: a page of each layer of a group. Layers that
    need the same slots form one group where they are all alike; else groups are equally large,
    and each takes blocks of its own for a request (v1/core/kv_cache_utils, 0.9..0.32).
    """
    version = request.version
    if model.layers[0].keeps is Keeps.COMPRESSED:
        stage = fullest_stage(model, request.pipeline_parallel_size)
        return compressed_kv(stage, version, in_flight_tokens)
    layers = _cached_layers(model, request)
    states = [x.state_bytes for x in layers if x.layer.keeps is Keeps.STATE]
    beside = sum(states) if version.states_apart else 0.0
    if version.states_apart:
        layers = tuple(x for x in layers if x.layer.keeps is not Keeps.STATE)
        states = []
    page = max((x.token_bytes for x in layers), default=0.0)
    block_tokens = _block_tokens(layers, page, max(states, default=0.0))
    kinds = _kinds(layers, page, block_tokens)
    if len({(keeps, span) for keeps, span, _ in kinds}) == 1:
        ((keeps, span),) = {(keeps, span) for keeps, span, _ in kinds}
        groups: tuple[CacheGroup, ...] = (CacheGroup(keeps, span, 1, block_tokens),)
        tokens = sum(x.token_bytes for x in layers)
        block_bytes = block_tokens * tokens if page else sum(states)
    else:
        group_layers, groups = _groups(kinds)
        block_bytes = group_layers * (block_tokens * page if page else max(states, default=0.0))
    return Kv(
        bytes_per_token=_growth(layers),
        block_tokens=block_tokens,
        block_bytes=block_bytes,
        groups=groups,
        state_blocks=version.state_blocks(caches_prefixes=request.caches_prefixes),
        in_flight_tokens=in_flight_tokens,
        state_bytes=beside,
    )


def _cached_layers(model: Model, request: PlanRequest) -> tuple[_Cached, ...]:
    """Return the layers of the fullest stage that keep anything."""
    tp, dtype = request.tensor_parallel_size, cached_as(model, request)
    element = kv_element_bytes(model, dtype)
    stage = fullest_stage(model, request.pipeline_parallel_size)
    kept = [_as_cached(layer, model, request.version) for layer in stage]
    return tuple(
        _Cached(layer, _token_bytes(layer, element, tp, dtype), _state_bytes(layer, model, tp))
        for layer in kept
        if layer.keeps is not Keeps.NOTHING
    )


def _growth(layers: tuple[_Cached, ...]) -> float:
    """Return what one more token of a long request costs.

    Where every layer has a window, a token costs what it costs within the window.
    """
    growing = sum(x.token_bytes for x in layers if x.layer.keeps in _GROWS)
    return growing or sum(x.token_bytes for x in layers)


def _block_tokens(layers: tuple[_Cached, ...], page: float, state: float) -> int:
    """Return the tokens of a block: the usual ones, or so many that a state fits in a page."""
    if not state or not page:
        return BLOCK_TOKENS
    latent = any(x.layer.keeps is Keeps.LATENT for x in layers)
    step = LATENT_BLOCK_STEP if latent else BLOCK_TOKENS
    return math.ceil(state / page / step) * step


def _kinds(
    layers: tuple[_Cached, ...], page: float, block_tokens: int
) -> Counter[tuple[Keeps, int, int]]:
    """Count the layers of each kind: what they keep, their span, and the tokens of their blocks.

    Pages are equal, so that a block of a layer whose tokens take less holds more of them.
    """
    kinds: Counter[tuple[Keeps, int, int]] = Counter()
    for x in layers:
        even = x.token_bytes > 0 and page % x.token_bytes == 0
        times = int(page / x.token_bytes) if even else 1
        kinds[x.layer.keeps, x.layer.span, block_tokens * times] += 1
    return kinds


def kv_element_bytes(model: Model, kv_cache_dtype: str) -> float:
    """Return the bytes of one cached number; "auto" follows the model."""
    if kv_cache_dtype in KV_BITS:
        return KV_BITS[kv_cache_dtype] / 8
    if kv_cache_dtype.startswith("fp8"):
        return 1
    return dtype_bytes(kv_cache_dtype) or model.dtype_bytes


def fullest_stage(model: Model, stages: int) -> tuple[Layer, ...]:
    """Return the layers of the pipeline stage that holds most: experts first, then layers.

    What does not divide goes to the stages before the last, the first of them at the end
    (get_pp_indices of distributed/utils, 0.8..0.33).
    """
    return _cut(model, stages)[_fullest(model, stages)]


def holds_embeddings(model: Model, stages: int) -> bool:
    """Tell whether the fullest stage is the first or the last, with the embeddings or the head."""
    return _fullest(model, stages) in (0, stages - 1)


def _fullest(model: Model, stages: int) -> int:
    cut = _cut(model, stages)
    sizes = [(sum(x.feed is Feed.EXPERTS for x in stage), len(stage)) for stage in cut]
    return sizes.index(max(sizes))


def _cut(model: Model, stages: int) -> list[tuple[Layer, ...]]:
    if stages <= 1:
        return [model.layers]
    each, more = divmod(len(model.layers), stages)
    sizes = [each + (stages - 1 - more <= stage < stages - 1) for stage in range(stages)]
    ends = accumulate(sizes)
    return [model.layers[end - size : end] for size, end in zip(sizes, ends, strict=True)]


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
    if layer.keeps is Keeps.STATE:
        return 0.0
    if layer.keeps is Keeps.LATENT:
        packed = dtype == PACKED
        return (FP8_MLA_BYTES if packed else layer.kv_width * element) + layer.index_bytes
    # Fewer heads than GPUs: each GPU keeps a copy of one.
    return max(1, math.ceil(layer.kv_heads / tp)) * layer.kv_width * element


def _state_bytes(layer: Layer, model: Model, tp: int) -> float:
    if layer.keeps is not Keeps.STATE:
        return 0.0
    conv = layer.conv_elements * model.dtype_bytes
    return (layer.state_elements * layer.state_bytes + conv) / tp


def _groups(kinds: Counter[tuple[Keeps, int, int]]) -> tuple[int, tuple[CacheGroup, ...]]:
    """Return how many layers a group has, and the groups of each kind."""
    if not kinds:
        return 0, ()
    fewest, most = min(kinds.values()), max(kinds.values())
    # A little padding is cheaper than many groups.
    layers = most if most < 1.25 * fewest else fewest
    groups = (
        CacheGroup(keeps, span, math.ceil(count / layers), tokens)
        for (keeps, span, tokens), count in kinds.items()
    )
    return layers, tuple(groups)
