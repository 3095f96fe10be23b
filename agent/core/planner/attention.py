# SPDX-License-Identifier: Apache-2.0
"""The parameters of a layer's attention, or of what stands in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.core.planner.config_keys import number
from agent.core.record import dataclass


@dataclass(frozen=True, slots=True)
class Latent:
    """The widths of multi-head latent attention; ranks in numbers, heads apart.

    vLLM keeps the widening of the latent a second time, for its absorbed form (0.7.1..0.32).
    """

    rank: int
    query_rank: int
    nope: int
    rope: int
    value: int
    index_heads: int = 0
    index_dim: int = 0
    """Those of a sparse indexer, which is on every GPU whole (deepseek_v2.py, Indexer)."""

    def parameters(self, hidden: int, heads: int, gpus: int = 1) -> float:
        """Return one GPU's parameters of one layer; the way down to the ranks is on every GPU."""
        queries = heads * (self.nope + self.rope)
        down = hidden * (self.query_rank + self.rank + self.rope)
        down += self.query_rank * self.index_heads * self.index_dim
        down += hidden * (self.index_dim + self.index_heads)
        split = self.query_rank * queries if self.query_rank else hidden * queries
        widened = self.rank * heads * (self.nope + self.value)
        return down + (split + widened + heads * self.value * hidden) / gpus

    def absorbed(self, heads: int) -> int:
        """Return the numbers that are held once more, in the model's own dtype."""
        return self.rank * heads * (self.nope + self.value)


def latent_of(text: Mapping[str, Any]) -> Latent | None:
    """Read the latent's widths; None for a model without one."""
    rank = number(text, "kv_lora_rank")
    if rank is None:
        return None
    return Latent(
        rank=rank,
        query_rank=number(text, "q_lora_rank") or 0,
        nope=number(text, "qk_nope_head_dim") or 128,
        rope=rope_of(text),
        value=number(text, "v_head_dim") or 128,
        index_heads=(number(text, "index_n_heads") or 64) if number(text, "index_topk") else 0,
        index_dim=(number(text, "index_head_dim") or 128) if number(text, "index_topk") else 0,
    )


def rope_of(text: Mapping[str, Any]) -> int:
    """Return the width of a latent's rope part; nought is said where there is none."""
    if text.get("qk_rope_head_dim") == 0:
        return 0
    return number(text, "qk_rope_head_dim") or 64
