# SPDX-License-Identifier: Apache-2.0
"""What a start takes beside weights, activation, graphs and KV cache: contexts and leftovers.

The constants are fitted to what vLLM printed in published logs of 0.6.5..0.29 (Llama 3 and 3.1,
Qwen 2.5 and 3, Phi-4, Mistral Small; V100, A100, H100), each with the error that they show there.
"""

from __future__ import annotations

import re

from agent.core.engine.defaults import LARGE_GIB, Device
from agent.core.planner.versions import (
    ALL_COUNTED,
    FEWER_BUFFERS,
    GRAPHS_INSIDE,
    HYBRID_POOL,
    LEAN_SAMPLER,
    Version,
)
from agent.core.record import dataclass

UNLINKED = r"(?i)\ba[18]00|rtx pro|pcie"
"""Large cards without symmetric buffers: Ampere, and those that hang on PCI Express alone."""

COUNTED_OTHERS_ERROR_GIB = 0.5
"""Where what others hold of the card is counted (V1 before 0.9.2)."""

CONTEXT_GIB = 0.45
"""The CUDA context and the driver's share, where a start counts them as its own (0.8)."""

OLD_ERROR_GIB = 1.3
"""The same before 0.6.6: two of four starts took 1.4 and 1.7 GiB more than planned."""

UNIFIED_GIB = 1.6
UNIFIED_ERROR_GIB = 4.0


@dataclass(frozen=True, slots=True)
class Term:
    """`gib` give or take `error_gib`, and how it comes about."""

    gib: float
    error_gib: float
    how: str


def non_torch(
    tensor_parallel_size: int, pipeline_parallel_size: int, device: Device, version: Version
) -> Term:
    """Return what CUDA contexts, cuBLAS and NCCL take beside PyTorch's allocator."""
    if version.release < ALL_COUNTED:
        how = f"CUDA contexts and libraries with {tensor_parallel_size} GPUs"
        return Term(0.3 if tensor_parallel_size > 1 else 0.06, OLD_ERROR_GIB, how)
    if tensor_parallel_size > 1:
        gib, error = _collectives(device, version)
        return Term(gib, error, f"NCCL and contexts with {tensor_parallel_size} GPUs")
    if pipeline_parallel_size > 1:
        return Term(0.1, 0.1, "contexts, a pipeline of GPUs")
    # Libraries load more for cards with more processors; small ones printed 0.02 to 0.08.
    large = device.memory_gib >= LARGE_GIB
    if version.release >= LEAN_SAMPLER:
        gib = 0.25 if large or version.release < GRAPHS_INSIDE else 0.1
    else:
        gib = 0.13 if large else 0.06
    error = COUNTED_OTHERS_ERROR_GIB if version.counts_others else 0.2
    if version.counts_context:
        return Term(gib + CONTEXT_GIB, error, "CUDA context and libraries, the context counted")
    return Term(gib, error, "CUDA context and libraries")


def _collectives(device: Device, version: Version) -> tuple[float, float]:
    """Return GiB as printed by 0.6.6..0.32, give or take.

    Cards with NVLink and a capability of 9.0 or more keep symmetric buffers for all-reduce.
    """
    large = device.memory_gib >= LARGE_GIB and not device.shares_host_memory
    linked = large and re.search(UNLINKED, device.name) is None
    if version.release >= LEAN_SAMPLER:
        if linked:
            return (1.5 if version.release >= FEWER_BUFFERS else 1.8), 0.8
        return (0.9 if version.release >= FEWER_BUFFERS else 0.2), 0.6
    if version.release >= HYBRID_POOL:
        return (0.8, 0.7) if linked else (0.3, 0.5)
    return (1.1, 0.9) if linked else (0.3, 0.5)


def host_share(request: Device) -> Term | None:
    """Return what a start takes beside where the memory is the host's; None for a card's own.

    Page cache of the files counts as used and moves from start to start: GB10 showed from 3 GiB
    less to 2 GiB more than a card.
    """
    if not request.shares_host_memory:
        return None
    return Term(UNIFIED_GIB, UNIFIED_ERROR_GIB, "page cache and others in the host's memory")
