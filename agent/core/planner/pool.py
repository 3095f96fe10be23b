# SPDX-License-Identifier: Apache-2.0
"""A pool of KV cache: its blocks, the groups of layers that take them, and what fits in it."""

from __future__ import annotations

import math

from agent.core.planner.layers import Keeps
from agent.core.record import dataclass

ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class CacheGroup:
    """Groups of equal layers, each with blocks of its own; a block holds `block_tokens`."""

    keeps: Keeps
    span: int
    count: int
    block_tokens: int
    share: float = 1.0
    """What one of its blocks counts where vLLM reckons with several sizes of them."""


@dataclass(frozen=True, slots=True)
class Kv:
    """The cache of one GPU.

    `bytes_per_token` is what one more token of a long request costs, `request_bytes(n)` what a
    request of n tokens costs, with the pages that it fills in part. `spread` is the number of GPUs
    that share the tokens of a request (decode context parallelism).
    """

    bytes_per_token: float
    block_tokens: int
    block_bytes: float
    groups: tuple[CacheGroup, ...]
    state_blocks: int
    in_flight_tokens: int
    state_bytes: float
    spread: int = 1

    def request_blocks(self, tokens: int) -> int:
        """Return the blocks that a request of this many tokens takes, of all groups together."""
        blocks = sum(g.count * g.share * self._blocks(g, tokens) for g in self.groups)
        return math.ceil(blocks - ROUNDING)

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

    def _blocks(self, group: CacheGroup, tokens: int) -> int:
        match group.keeps:
            case Keeps.STATE:
                return self.state_blocks
            case Keeps.WINDOW:
                held = min(group.span - 1 + self.in_flight_tokens, tokens)
                return math.ceil(held / group.block_tokens) + 1
            case Keeps.CHUNK:
                held = min(group.span + self.in_flight_tokens, tokens)
                return math.ceil(held / group.block_tokens)
            case _:
                return math.ceil(tokens / (group.block_tokens * self.spread))
