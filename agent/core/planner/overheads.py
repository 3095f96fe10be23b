# SPDX-License-Identifier: Apache-2.0
"""What a start takes beside weights, activation and KV cache: contexts and CUDA graphs.

The constants are fitted to what vLLM printed in published logs of 0.6.5..0.29 (Llama 3 and 3.1,
Qwen 2.5 and 3, Phi-4, Mistral Small; V100, A100, H100), each with the error that they show there.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.core.engine.defaults import LARGE_GIB, Device
from agent.core.planner.versions import FEWER_BUFFERS, HYBRID_POOL, LEAN_SAMPLER, Version

UNIFIED_GIB = 1.8
UNIFIED_ERROR_GIB = 4.5


@dataclass(frozen=True, slots=True)
class Term:
    """`gib` give or take `error_gib`, and how it comes about."""

    gib: float
    error_gib: float
    how: str


def non_torch(
    tensor_parallel_size: int, pipeline_parallel_size: int, card_gib: float, version: Version
) -> Term:
    """Return what CUDA contexts, cuBLAS and NCCL take beside PyTorch's allocator."""
    if tensor_parallel_size > 1:
        return Term(
            _collectives(card_gib, version),
            0.8,
            f"NCCL and contexts with {tensor_parallel_size} GPUs",
        )
    if pipeline_parallel_size > 1:
        return Term(0.1, 0.1, "contexts, a pipeline of GPUs")
    gib = 0.25 if version.release >= LEAN_SAMPLER else 0.13
    return Term(gib, 0.2, "CUDA context and libraries")


def _collectives(card_gib: float, version: Version) -> float:
    """Return GiB as printed by 0.6.6..0.32; large cards have NVLink and its buffers."""
    large = card_gib >= LARGE_GIB
    if version.release >= FEWER_BUFFERS:
        return 1.5
    if version.release >= LEAN_SAMPLER:
        return 2.1 if large else 1.6
    if version.release >= HYBRID_POOL:
        return 0.55
    return 1.4 if large else 0.3


def host_share(request: Device) -> Term | None:
    """Return what a start takes beside where the memory is the host's; None for a card's own.

    Page cache of the files counts as used and moves from start to start: GB10 showed from 3 GiB
    less to 2 GiB more than a card.
    """
    if not request.shares_host_memory:
        return None
    return Term(UNIFIED_GIB, UNIFIED_ERROR_GIB, "page cache and others in the host's memory")


def cuda_graphs(sequences: int, *, states: bool, new_runner: bool, enforce_eager: bool) -> Term:
    """Return what captured graphs take; vLLM captures up to 512 sequences."""
    if enforce_eager:
        return Term(0.0, 0.0, "none: enforce_eager")
    sizes = min(sequences, 512) / 512
    if states:
        gib = 0.3 + 0.9 * sizes
    elif new_runner:
        gib = 0.2 + 0.2 * sizes
    else:
        gib = 0.35 + 0.5 * sizes
    return Term(gib, 0.3, f"captured for up to {min(sequences, 512)} sequences")
