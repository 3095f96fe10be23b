# SPDX-License-Identifier: Apache-2.0
"""What is asked of a start beside the model itself, in terms of memory."""

from __future__ import annotations

from agent.core.planner.layers import Layer
from agent.core.planner.overheads import Term
from agent.core.record import dataclass

DRAFTER, ADAPTERS = "drafter", "lora"


@dataclass(frozen=True, slots=True)
class Beside:
    """Memory of one GPU that something beside the model takes, under a name of its own."""

    name: str
    term: Term

    @property
    def is_loaded(self) -> bool:
        """Whether vLLM counts it among the weights that it prints: drafters and adapters are."""
        return self.name in (DRAFTER, ADAPTERS)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the options of a start change of the arithmetic; the defaults change nothing."""

    data_parallel: int = 1
    """Replicas, each on its own GPUs."""

    whole_experts: bool = False
    """Experts are spread over the GPUs, none is split (--enable-expert-parallel)."""

    decode_context: int = 1
    text_only: bool = False
    pools: bool = False
    """Its outputs are pooled (--runner pooling, --convert embed)."""

    videos: bool = True
    """False where no prompt may hold a video."""

    encoder_copies: int = 1
    """GPUs that each keep the whole encoder (--mm-encoder-tp-mode data); 1 where they share it."""

    state_bytes: int = 0
    """Of a recurrent state's number; 0 where it is the checkpoint's own."""

    cpu_offload_gib: float = 0.0
    block_tokens: int | None = None
    gpu_blocks: int | None = None
    captured: tuple[int, ...] | None = None
    """Batch sizes that CUDA graphs are captured for; None for vLLM's own."""

    draft_layers: tuple[Layer, ...] = ()
    """They keep a cache beside the model's own."""

    draft_tokens: int = 0
    widened: int | None = None
    """Widened latents that a sparse indexer sets aside for each token; None for vLLM's own."""

    overlapped: bool = True
    """The next step is scheduled while one runs (--async-scheduling)."""

    beside: tuple[Beside, ...] = ()
    """Terms of one GPU."""

    host: tuple[Beside, ...] = ()
    """Terms of the host's memory, for the whole service."""

    not_known: tuple[str, ...] = ()
    """Sentences on options whose memory is not reckoned with."""

    refusal: str = ""
    """Why vLLM refuses the start whatever memory there is."""

    doubt: str = ""
    """Why a start that fits by the arithmetic may fail all the same."""

    notes: tuple[str, ...] = ()
    """What else is to be said."""
