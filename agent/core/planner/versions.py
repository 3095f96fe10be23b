# SPDX-License-Identifier: Apache-2.0
"""What vLLM's memory accounting did in which version, 0.6.3..0.33."""

from __future__ import annotations

from agent.core.engine.defaults import NEWEST, Release, release_or_newest, utilization_of
from agent.core.record import dataclass

GRAPHS_INSIDE = (0, 20)
"""From here CUDA graphs are estimated and kept inside gpu_memory_utilization."""

FLASHINFER_SAMPLES = ((0, 10), (0, 11))
"""Between these vLLM samples with FlashInfer's kernel where that is installed, which sorts nothing;
before and after, only when asked to."""

DECODES_IN_GRAPHS = (0, 11)
"""From here batches that only decode have graphs of their own (FULL_AND_PIECEWISE)."""

LEAN_SAMPLER = (0, 17)
"""From here the sampler's warm-up takes two fifths of what it took."""

INDEXES_AHEAD = (0, 13)
"""From here a sparse indexer gathers forty requests of the longest length; before, two."""

FEWER_WIDENED = (0, 32)
"""From here it gathers two fifths of that for contexts longer than 256k."""

TUNES_LATER = (0, 29)
"""From here tuning of FP4 kernels leaves nothing behind before the cache is sized."""

FULL_SAMPLER = (0, 31)
"""From here the new runner's sampler peaks at about three times what it did."""

ALL_DENSE = (0, 26)
"""From here the new model runner runs every dense model."""

WHOLE_MODEL_CHECKED = ((0, 14), (0, 17))
"""Between these a pipeline's stage is checked to hold a request of the whole model's layers
(vllm#32105, mended by vllm#33698; read in 0.13, 0.16 and 0.19.1)."""

FEWER_BUFFERS = (0, 27)
"""From here NCCL and its like take 1.5 GiB on every kind of card."""

V1 = (0, 8)
HYBRID_WINDOWS = (0, 9)
"""From here layers with a sliding window keep no more than it (0.9.1); before, every token."""

HYBRID_CHUNKS = (0, 12)
"""From here the same holds for Llama 4's chunks."""

LATENTS = (0, 7)
"""From here DeepSeek's latent is what is cached (0.7.1); before, keys and values of 256 each."""

KV_AS_CHECKPOINT = (0, 12)
"""From here kv_cache_dtype "auto" becomes fp8 where the checkpoint carries scales for it."""

HYBRID_POOL = (0, 11)
"""From here recurrent states live in the blocks of the KV pool; before, beside it."""

WHOLE_ITEMS = ((0, 20), (0, 25))
"""From the first on a step must hold the largest item that no two steps may share: "Chunked MM
input disabled but max_tokens_per_mm_item (2496) is larger than max_num_batched_tokens (2048)"
(vllm#42687). From the second on the unasked batch is raised to it (public logs of 0.25.1 and
0.26)."""

ALIGNED_STATES = (0, 16)
"""From here a step must hold a whole block where prefixes are cached beside recurrent states: "In
Mamba cache align mode, block_size must be <= max_num_batched_tokens" (vllm#34445)."""

IN_FLIGHT_STEPS = (0, 26)
"""From here windows and chunks keep what every step under way may add (max_in_flight_tokens of
config/vllm.py); before, one step's tokens. Steps overlap by default."""

COUNTS_CONTEXT_BELOW = (0, 9)
"""Before it V1 took all that the device misses but PyTorch's own for the start's, the CUDA context
with it (v1/worker/gpu_worker.py of 0.8.5; 0.9.0 takes the difference from its start)."""

COUNTS_OTHERS_BELOW = (0, 9, 2)
"""Before it V1 counted what other processes hold of a card as its own (read in 0.8.5; 0.11 and
later take the difference from the start)."""

ALL_COUNTED = (0, 6, 6)
"""Before it all that the device misses beside PyTorch's own counted as the start's (0.6.4)."""

COMPILES_MORE = (0, 19)
"""From here a first start's torch.compile leaves memory behind that later starts do not have."""

PINNED_SEGMENTS = (0, 27, 1)
UNPINNED_SEGMENTS = (0, 30)
"""Between these all that the device misses is counted, with blocks of the allocator that a small
tensor keeps from being released (memory_profiling of 0.27.1 and 0.28; 0.32 splits none of them)."""

BLOCKS_ALIKE = (0, 27)
"""From here a request's blocks of groups of several sizes are added up; before, their bytes were
(get_max_concurrency_for_kv_cache_config of 0.26 and 0.27.1)."""

DERIVED_TOKENS = (0, 20, 1)
"""From here the printed tokens are concurrency times max_model_len."""

PREFIX_STATES = (0, 16)
"""From here a request keeps one more block of recurrent states where prefixes are cached."""

CACHES_HYBRID_PREFIXES = (0, 28)
"""From here models with recurrent states cache prefixes unasked; before, when asked to."""

REFUSES_TOO_MANY_STATES = (0, 20)
"""From here a start ends where max_num_seqs is more than the blocks, with CUDA graphs of decoding
(vllm#38270); 0.19 captured fewer sizes instead."""


@dataclass(frozen=True, slots=True)
class Version:
    """A release of vLLM as its numbers, (0, 20, 1) of "0.20.1"."""

    release: Release = NEWEST

    @property
    def graphs_inside(self) -> bool:
        """Whether CUDA graphs are taken out of the share that utilization gives."""
        return self.release >= GRAPHS_INSIDE

    @property
    def default_utilization(self) -> float:
        """The gpu_memory_utilization that vLLM takes unasked."""
        return utilization_of(self.release)

    @property
    def v1(self) -> bool:
        """Whether the V1 engine is the usual one."""
        return self.release >= V1

    @property
    def derived_tokens(self) -> bool:
        """Whether the printed tokens are concurrency times max_model_len."""
        return self.release >= DERIVED_TOKENS

    @property
    def counts_others(self) -> bool:
        """Whether what other processes hold of the card counts within gpu_memory_utilization."""
        return V1 <= self.release < COUNTS_OTHERS_BELOW

    @property
    def counts_context(self) -> bool:
        """Whether a start counts the CUDA context among what it takes."""
        return V1 <= self.release < COUNTS_CONTEXT_BELOW

    @property
    def checks_whole_model(self) -> bool:
        """Whether each stage of a pipeline must hold a request of every stage's layers."""
        first, last = WHOLE_MODEL_CHECKED
        return first <= self.release < last

    @property
    def states_apart(self) -> bool:
        """Whether recurrent states are kept beside the KV pool, one for each of max_num_seqs."""
        return self.release < HYBRID_POOL

    def state_blocks(self, *, caches_prefixes: bool) -> int:
        """Return the blocks that a recurrent group takes for one request."""
        return 2 if caches_prefixes and self.release >= PREFIX_STATES else 1


def version_of(text: str | None) -> Version:
    """Read "0.16.0rc2" or "v0.11"; what cannot be read counts as the newest known."""
    return Version(release_or_newest(text))
