# SPDX-License-Identifier: Apache-2.0
"""How many tokens a pool of bytes holds: vLLM's blocks and groups of layers.

Follows v1/core/kv_cache_utils of vLLM 0.9..0.32: layers of one kind form groups of equal size, a
block is one page of each layer of a group, and every group takes blocks of its own for a request.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from agent.core.engine_names import dtype_bytes
from agent.core.planner.layers import Keeps, Layer
from agent.core.planner.model import Model
from agent.core.planner.versions import Version

BLOCK_TOKENS = 16
"""vLLM's block size on CUDA; hybrid models are given a larger one."""

KV_BITS = {"nvfp4": 4.5, "int4": 4.25, "int8": 8.5}
"""KV formats with scales beside the elements, in bits an element."""

FP8_MLA_BYTES = 656
"""fp8_ds_mla: 512 bytes of latent, scales and the 16-bit rope part, a token and layer."""


@dataclass(frozen=True, slots=True)
class Kv:
    """The cache of one GPU.

    `bytes_per_token` is what one more token of a long request costs, `request_bytes(n)` what a
    request of n tokens costs, with the pages that it fills in part.
    """

    bytes_per_token: float
    block_tokens: int
    block_bytes: float
    groups: tuple[tuple[Keeps, int, int], ...]
    state_blocks: int
    in_flight_tokens: int
    state_bytes: float

    def request_blocks(self, tokens: int) -> int:
        """Return the blocks that a request of this many tokens takes, of all groups together."""
        return sum(
            groups * self._blocks(keeps, span, tokens) for keeps, span, groups in self.groups
        )

    def request_bytes(self, tokens: int) -> float:
        """Return the bytes of a request of this many tokens."""
        return self.request_blocks(tokens) * self.block_bytes

    def concurrency(self, pool_bytes: float, tokens: int) -> float:
        """Return how many requests of this length the pool holds at once."""
        blocks = self.request_blocks(tokens)
        return self.blocks(pool_bytes) / blocks if blocks else math.inf

    def blocks(self, pool_bytes: float) -> int:
        """Return how many blocks the pool is cut into."""
        return max(0, int(pool_bytes / self.block_bytes)) if self.block_bytes else 0

    def longest(self, pool_bytes: float, most: int) -> int:
        """Return the longest request that the pool holds, at most `most` tokens; 0 for none."""
        if self.concurrency(pool_bytes, 1) < 1:
            return 0
        low, high = 1, most
        while low < high:
            middle = (low + high + 1) // 2
            if self.concurrency(pool_bytes, middle) >= 1:
                low = middle
            else:
                high = middle - 1
        return low

    def _blocks(self, keeps: Keeps, span: int, tokens: int) -> int:
        match keeps:
            case Keeps.STATE:
                return self.state_blocks
            case Keeps.WINDOW:
                held = min(span - 1 + self.in_flight_tokens, tokens)
                return math.ceil(held / self.block_tokens) + 1
            case Keeps.CHUNK:
                return math.ceil(min(span + self.in_flight_tokens, tokens) / self.block_tokens)
            case _:
                return math.ceil(tokens / self.block_tokens)


def kv_of(
    model: Model,
    kv_cache_dtype: str,
    tensor_parallel_size: int,
    pipeline_parallel_size: int,
    in_flight_tokens: int,
    version: Version,
) -> Kv:
    """Return the cache of the GPU that holds most layers."""
    stage = fullest_stage(model, pipeline_parallel_size)
    element = kv_element_bytes(model, kv_cache_dtype)
    tokens = [_token_bytes(x, element, tensor_parallel_size, kv_cache_dtype) for x in stage]
    states = [
        (layer.state_elements * layer.state_bytes + layer.conv_elements * model.dtype_bytes)
        / tensor_parallel_size
        for layer in stage
        if layer.keeps is Keeps.STATE
    ]
    kinds: Counter[tuple[Keeps, int]] = Counter()
    kinds.update((x.keeps, x.span) for x in stage if x.keeps is not Keeps.NOTHING)
    growing = [n for n, x in zip(tokens, stage, strict=True) if _grows(x)]
    # Where every layer has a window, a token costs what it costs within the window.
    per_token = sum(growing) or sum(tokens)
    if states and version.states_apart:
        del kinds[(Keeps.STATE, 0)]
        states_of_a_request, states = sum(states), []
    else:
        states_of_a_request = 0.0
    block = BLOCK_TOKENS
    page = max((n for n in tokens if n), default=0.0)
    if states and page:
        block = math.ceil(max(states) / page / BLOCK_TOKENS) * BLOCK_TOKENS
    size, groups = _groups(kinds)
    if len(groups) == 1:
        block_bytes = block * per_token if per_token else max(states, default=0.0) * size
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


def kv_element_bytes(model: Model, kv_cache_dtype: str) -> float:
    """Return the bytes of one cached number; "auto" follows the model, or the checkpoint's word."""
    name = kv_cache_dtype.lower()
    if name == "auto":
        asked = model.quantization_config
        if asked.get("kv_cache_scheme") or asked.get("kv_cache_quant_algo") == "FP8":
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


def _token_bytes(layer: Layer, element: float, tp: int, dtype: str) -> float:
    if layer.keeps is Keeps.LATENT:
        return FP8_MLA_BYTES if dtype == "fp8_ds_mla" else layer.kv_width * element
    # Fewer heads than GPUs: each GPU keeps a copy of one.
    return max(1, math.ceil(layer.kv_heads / tp)) * layer.kv_width * element


def _grows(layer: Layer) -> bool:
    return layer.keeps in (Keeps.TOKENS, Keeps.LATENT)


def _groups(
    kinds: Counter[tuple[Keeps, int]],
) -> tuple[int, tuple[tuple[Keeps, int, int], ...]]:
    """Return the layers of a group and the number of groups of each kind."""
    if not kinds:
        return 0, ()
    if len(kinds) == 1:
        ((keeps, span),) = kinds
        return kinds[keeps, span], ((keeps, span, 1),)
    fewest, most = min(kinds.values()), max(kinds.values())
    # A little padding is cheaper than many groups.
    size = most if most < 1.25 * fewest else fewest
    groups = tuple((k, span, math.ceil(n / size)) for (k, span), n in kinds.items())
    return size, groups
