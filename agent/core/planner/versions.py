# SPDX-License-Identifier: Apache-2.0
"""What vLLM's memory accounting did in which version, 0.6.3..0.32."""

from __future__ import annotations

import re
from dataclasses import dataclass

NEWEST = (0, 32)
GRAPHS_INSIDE = (0, 20)
"""From here CUDA graphs are estimated and kept inside gpu_memory_utilization."""

LEAN_SAMPLER = (0, 17)
"""From here the sampler's warm-up takes two fifths of what it took."""

V1 = (0, 8)
CHECKS_FREE_MEMORY = (0, 9)
HYBRID_WINDOWS = (0, 9)
"""From here layers with a sliding window keep no more than it (0.9.1); before, every token."""

HYBRID_CHUNKS = (0, 12)
"""From here the same holds for Llama 4's chunks."""

LATENTS = (0, 7)
"""From here DeepSeek's latent is what is cached (0.7.1); before, keys and values of 256 each."""

KV_AS_CHECKPOINT = (0, 12)
"""From here kv_cache_dtype "auto" becomes fp8 where the checkpoint carries scales for it."""

SMALL_PEAK = (0, 27)
"""From here the new model runner, the usual one for models without states, peaks lower."""

HYBRID_POOL = (0, 11)
"""From here recurrent states live in the blocks of the KV pool; before, beside it."""

DERIVED_TOKENS = (0, 20)
"""From here the printed tokens are concurrency times max_model_len."""

MANY_SEQS = (0, 9)
"""From here large cards are given 1024 sequences unasked."""


@dataclass(frozen=True, slots=True)
class Version:
    """A release of vLLM as (major, minor)."""

    release: tuple[int, int] = NEWEST

    @property
    def graphs_inside(self) -> bool:
        """Whether CUDA graphs are taken out of the share that utilization gives."""
        return self.release >= GRAPHS_INSIDE

    @property
    def default_utilization(self) -> float:
        """The gpu_memory_utilization that vLLM takes unasked."""
        return 0.92 if self.release >= GRAPHS_INSIDE else 0.9

    @property
    def v1(self) -> bool:
        """Whether the V1 engine is the usual one."""
        return self.release >= V1

    @property
    def derived_tokens(self) -> bool:
        """Whether the printed tokens are concurrency times max_model_len."""
        return self.release >= DERIVED_TOKENS

    @property
    def states_apart(self) -> bool:
        """Whether recurrent states are kept beside the KV pool, one for each of max_num_seqs."""
        return self.release < HYBRID_POOL

    @property
    def state_blocks(self) -> int:
        """Blocks that a recurrent group takes for one request; prefix caching keeps one more."""
        return 2 if self.release >= DERIVED_TOKENS else 1


def version_of(text: str | None) -> Version:
    """Read "0.16.0rc2" or "v0.11"; what cannot be read counts as the newest known."""
    found = re.match(r"v?(\d+)\.(\d+)", text or "")
    return Version((int(found[1]), int(found[2]))) if found else Version()
