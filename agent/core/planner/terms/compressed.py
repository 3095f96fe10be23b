# SPDX-License-Identifier: Apache-2.0
"""DeepSeek-V4's cache: a window of each layer, compressed latents, and the compressors' states.

Follows models/deepseek_v4 and v1/core/kv_cache_utils (uniform groups) of vLLM 0.20..0.33: pages of
several sizes lie in one block, every group takes blocks of its own. Two H200 with 0.22 printed
2,175,276 tokens, which this makes of the same 32.08 GiB.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from agent.core.planner.families import INDEXED, LONG_SIGHT
from agent.core.planner.layers import Keeps, Layer
from agent.core.planner.pool import CacheGroup, Kv
from agent.core.planner.versions import BLOCKS_ALIKE, Version

ENTRY_BYTES = 584
"""448 bytes of fp8 latent, 128 of the 16-bit rope part and 8 of scales (fp8_ds_mla)."""

ALIGNMENT = 576
TOKENS = 256
"""A block of the compressed latents; the others are as long as makes their pages no larger."""

WINDOW_TOKENS = 64
STATE_TOKENS = {INDEXED: 4, LONG_SIGHT: 8}
STATE_SPAN = {INDEXED: 8, LONG_SIGHT: 128}
"""What a compressor still needs: twice the ratio where neighbours overlap."""


ALIGNED_WINDOWS = (0, 22, 1)
"""From here a window may hold a block of latents more: what public starts of 0.22.1 to 0.25 show
(two GB10 5.008 requests of 200,000 tokens, others 9.65 of 600,000)."""


def _page(size: int) -> int:
    return math.ceil(size / ALIGNMENT) * ALIGNMENT


WIDE = _page(WINDOW_TOKENS * ENTRY_BYTES)


def compressed_kv(layers: Sequence[Layer], version: Version, in_flight_tokens: int) -> Kv:
    """Return the cache of one GPU; each has the whole of it, as of every latent."""
    indexed = sum(layer.compress == INDEXED for layer in layers)
    sighted = sum(layer.compress == LONG_SIGHT for layer in layers)
    window = max((layer.span for layer in layers), default=0)
    index = _page(TOKENS // INDEXED * max((layer.index_bytes for layer in layers), default=0))
    far = _page(TOKENS // LONG_SIGHT * ENTRY_BYTES)
    slots = _slots([max(indexed, sighted), len(layers), *(n for n in (indexed, sighted) if n)])
    own = indexed * (WIDE + index) + sighted * far
    aligned = TOKENS if version.release >= ALIGNED_WINDOWS else 0
    groups = [CacheGroup(Keeps.TOKENS, 0, 1, TOKENS)]
    for size, count, tokens, span in (
        (len(layers) * WIDE, math.ceil(len(layers) / slots), WINDOW_TOKENS, window),
        (indexed * (WIDE + index), 1, STATE_TOKENS[INDEXED], STATE_SPAN[INDEXED]),
        (sighted * WIDE, 1, STATE_TOKENS[LONG_SIGHT], STATE_SPAN[LONG_SIGHT]),
    ):
        if size:
            # Before blocks counted alike, a group's were weighed by its share of the first one's.
            share = size / count / own if version.release < BLOCKS_ALIKE and own else 1.0
            groups.append(CacheGroup(Keeps.WINDOW, span, count, tokens, share))
    return Kv(
        bytes_per_token=own / TOKENS,
        block_tokens=TOKENS,
        block_bytes=slots * WIDE + indexed * index + sighted * far,
        groups=tuple(groups),
        state_blocks=0,
        in_flight_tokens=in_flight_tokens + aligned,
        state_bytes=0.0,
    )


def _slots(counts: Sequence[int]) -> int:
    """Return the layers of a group that leave the fewest slots empty, the larger of equal ones.

    The first count is the least that there can be (_approximate_gcd).
    """
    choices = range(max(1, counts[0]), max(counts) + 1)
    return min(choices, key=lambda size: (sum(-count % size for count in counts), -size))
