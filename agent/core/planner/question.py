# SPDX-License-Identifier: Apache-2.0
"""What a plan is asked and what it answers."""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum

from agent.core.engine.defaults import Batch, Device
from agent.core.measures import GIB
from agent.core.planner.asked.ask import Asked
from agent.core.planner.overheads import Term
from agent.core.planner.pool import Kv
from agent.core.planner.versions import CACHES_HYBRID_PREFIXES, Version
from agent.core.record import dataclass


class Fit(StrEnum):
    """The verdict; `TIGHT` lies within the errors of the estimates.

    `NOT_KNOWN`: an option moves memory in a way that is not reckoned with.
    """

    FITS = "fits"
    TIGHT = "tight"
    NOT_KNOWN = "not known"
    DOES_NOT_FIT = "does not fit"


SHARED_UTILIZATION = 0.5
"""Up to this share of a card is asked for where others hold the rest."""


@dataclass(frozen=True, slots=True)
class Correction:
    """How far the KV cache of an earlier start was off its plan: `gib` more, give or take."""

    gib: float
    error_gib: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What vLLM printed at an earlier good start with these settings; GiB of one GPU.

    `correction` is for other settings than those of that start, and `when` its day.
    """

    weights_gib: float | None = None
    activation_gib: float | None = None
    non_torch_gib: float | None = None
    cuda_graph_gib: float | None = None
    available_kv_gib: float | None = None
    correction: Correction | None = None
    when: str = ""
    from_cache: bool | None = None
    """Whether its compiled code came from the cache; None where it was not told."""


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What shall be started, by vLLM's own option names; None where vLLM chooses."""

    gpu_memory_gib: float
    """The memory of one card as NVML gives it (23.5 for a "24 GB" card)."""

    version: Version = field(default_factory=Version)
    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    quantization: str | None = None
    kv_cache_dtype: str = "auto"
    max_model_len: int | None = None
    """-1 for the longest that fits."""

    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    gpu_memory_utilization: float | None = None
    kv_cache_memory_bytes: int | None = None
    enforce_eager: bool = False
    enable_prefix_caching: bool | None = None
    weights_gib: float | None = None
    """The weights of one GPU, where they are known."""

    files_gib: float | None = None
    """The weights of all files."""

    free_gib: float | None = None
    gpu_name: str = ""
    """Where it is known: vLLM's defaults depend on it, as on the card's memory."""

    memory_unified: bool = False
    """The card has no memory of its own (GB10, Thor, Orin)."""

    dtype: str | None = None
    measured: Measured = field(default_factory=Measured)
    """What vLLM printed at an earlier start."""

    asked: Asked = field(default_factory=Asked)
    """What other options change."""

    @property
    def utilization(self) -> float:
        """The share asked for, or the one that this vLLM takes unasked."""
        if self.gpu_memory_utilization is not None:
            return self.gpu_memory_utilization
        return self.version.default_utilization

    @property
    def device(self) -> Device:
        """What vLLM's defaults depend on."""
        return Device(self.gpu_memory_gib, self.gpu_name, unified=self.memory_unified)

    @property
    def caches_prefixes(self) -> bool:
        """Whether requests keep a block of recurrent states for those that begin alike."""
        if self.enable_prefix_caching is not None:
            return self.enable_prefix_caching
        return self.version.release >= CACHES_HYBRID_PREFIXES


SURE, SURE_OF_WEIGHTS = 1.3, 2.0
"""A plan's errors hold for four of five starts or more; so many times as much holds for nearly all
(of the published ones of tests/benchmarks/planner.py), which is what a verdict rests on."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The memory of one GPU in GiB."""

    verdict: Fit
    reason: str
    """The verdict in one sentence."""

    architecture: str
    known: bool
    """False for a family that was counted as a plain transformer without proof."""

    encoder_only: bool
    refusal: str
    """Why vLLM refuses to start; "" when it does not."""

    doubt: str
    """Why vLLM may refuse to start; "" for no reason."""

    model_tokens: int
    """The length that the model was made for."""

    request: PlanRequest
    batch: Batch
    weights: Term
    activation: Term
    non_torch: Term
    cuda_graphs: Term
    sampled_later_gib: float
    """What sampling takes beyond the share once the KV cache stands."""

    profiles_images: bool
    graphs_inside: bool
    """Whether the graphs are taken out of the share, not from what is left beside it."""

    budget_gib: float
    available_kv_gib: float
    error_gib: float
    """How far the estimates together may be off."""

    needed_kv_gib: float
    """What one request of `max_model_len` tokens takes."""

    max_model_len: int
    kv: Kv
    kv_tokens: int
    """Counted as this vLLM prints them."""

    max_concurrency: float
    largest_max_model_len: int

    @property
    def low_gib(self) -> float:
        """The KV cache if every estimate is off in the bad direction."""
        return self.available_kv_gib - SURE * self.error_gib

    @property
    def high_gib(self) -> float:
        """The KV cache if every estimate is off in the good direction."""
        return self.available_kv_gib + SURE * self.error_gib

    @property
    def lightest_gib(self) -> float:
        """The weights if their estimate is off in the good direction."""
        return self.weights.gib - SURE_OF_WEIGHTS * self.weights.error_gib

    @property
    def loaded_gib(self) -> float:
        """The weights as vLLM prints them once loaded: with drafters and adapters."""
        if self.request.measured.weights_gib is not None:
            return self.weights.gib
        more = (item.term.gib for item in self.request.asked.beside if item.is_loaded)
        return self.weights.gib + sum(more)

    @property
    def pool_bytes(self) -> float:
        """The KV cache in bytes, 0 when there is none."""
        return max(0.0, self.available_kv_gib) * GIB

    @property
    def states_gib(self) -> float:
        """Recurrent states beside the KV cache, for all sequences."""
        return self.kv.state_bytes * self.batch.sequences / GIB
