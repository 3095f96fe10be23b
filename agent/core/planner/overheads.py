# SPDX-License-Identifier: Apache-2.0
"""What a start takes beside weights and KV cache: activation, contexts, CUDA graphs.

The constants are fitted to what vLLM printed in published logs of 0.6.5..0.29 (Llama 3 and 3.1,
Qwen 2.5 and 3, Phi-4, Mistral Small; V100, A100, H100), each with the error that they show there.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.core.engine.defaults import LARGE_GIB, Batch
from agent.core.planner.layers import Keeps
from agent.core.planner.model import Model
from agent.core.planner.versions import HYBRID_POOL, LEAN_SAMPLER, SMALL_PEAK, Version

GIB = 1024**3

SAMPLER_BYTES = 38.8
LEAN_SAMPLER_BYTES = 15.4
"""Bytes at the peak for each logit of the sampler's warm-up (max_num_seqs x vocabulary)."""

SMALL_SAMPLER_BYTES = 6.9
"""The same with the new model runner."""


@dataclass(frozen=True, slots=True)
class Term:
    """`gib` give or take `error_gib`, and how it comes about."""

    gib: float
    error_gib: float
    how: str


def activation(model: Model, batch: Batch, version: Version, tensor_parallel_size: int) -> Term:
    """Return the peak of the profiling run: the widest MLP or the sampler, whichever is more."""
    # Models with an image encoder show the lean figure in older versions too (0.11, 0.16).
    lean = version.release >= LEAN_SAMPLER or model.encodes
    per_logit = LEAN_SAMPLER_BYTES if lean else SAMPLER_BYTES
    if _runs_new_runner(model, version):
        per_logit = SMALL_SAMPLER_BYTES
    rows = min(batch.sequences, batch.tokens)
    sampler = rows * model.vocab_size * per_logit / GIB
    mlp = batch.tokens * _widest(model, tensor_parallel_size) * model.dtype_bytes / GIB
    gib = max(sampler, mlp)
    how = (
        f"sampler: {rows} sequences x {model.vocab_size} logits x {per_logit:g} bytes"
        if sampler >= mlp
        else f"layers: {batch.tokens} tokens x {_widest(model, tensor_parallel_size):.0f} numbers"
    )
    error = 0.15 * gib + 0.15
    if model.encodes:
        # Half of it is the MLP's, which the GPUs share.
        share = (1 + 1 / tensor_parallel_size) / 2 if version.v1 else 0.0
        image = model.encoder_peak * model.dtype_bytes * share / GIB
        gib, error = max(gib, image) + 0.2, 0.35 * gib + 1.0
        how += f"; profiling of images: {image:.2f} GiB and what it leaves"
    if not model.known:
        return Term(gib, error + 0.5 * gib, f"{how}; {model.architecture} may take more")
    return Term(gib, error, how)


def _runs_new_runner(model: Model, version: Version) -> bool:
    states = any(layer.keeps is Keeps.STATE for layer in model.layers)
    return version.release >= SMALL_PEAK and not states and not model.encodes


def _widest(model: Model, tensor_parallel_size: int) -> float:
    inner = 3 * model.intermediate_size / tensor_parallel_size
    if model.experts is not None:
        each = model.experts.intermediate_size / tensor_parallel_size
        # The fused kernel keeps what every chosen expert reads, and what it widens it to.
        chosen = (model.experts.active or 8) * (max(2 * each, model.hidden_size) + each)
        inner = max(chosen, 3 * model.experts.shared_intermediate_size / tensor_parallel_size)
    attention = (2 * model.heads * model.head_dim) / tensor_parallel_size
    states = any(layer.keeps is Keeps.STATE for layer in model.layers)
    mixer = attention * (4 if states else 1)
    return max(inner, mixer) + 5 * model.hidden_size


def non_torch(
    tensor_parallel_size: int, pipeline_parallel_size: int, card_gib: float, version: Version
) -> Term:
    """Return what CUDA contexts, cuBLAS and NCCL take beside PyTorch's allocator."""
    if tensor_parallel_size > 1:
        return Term(
            _collectives(card_gib, version),
            0.5,
            f"NCCL and contexts with {tensor_parallel_size} GPUs",
        )
    if pipeline_parallel_size > 1:
        return Term(0.1, 0.1, "contexts, a pipeline of GPUs")
    gib = 0.25 if version.release >= LEAN_SAMPLER else 0.13
    return Term(gib, 0.1, "CUDA context and libraries")


def _collectives(card_gib: float, version: Version) -> float:
    """Return GiB as printed by 0.6.6..0.32; large cards have NVLink and its buffers."""
    large = card_gib >= LARGE_GIB
    if version.release >= SMALL_PEAK:
        return 1.5
    if version.release >= LEAN_SAMPLER:
        return 2.1 if large else 1.6
    if version.release >= HYBRID_POOL:
        return 0.55
    return 1.4 if large else 0.3


def cuda_graphs(model: Model, batch: Batch, version: Version, *, enforce_eager: bool) -> Term:
    """Return what captured graphs take; vLLM captures up to 512 sequences."""
    if enforce_eager:
        return Term(0.0, 0.0, "none: enforce_eager")
    sizes = min(batch.sequences, 512) / 512
    if _runs_new_runner(model, version):
        gib = 0.2 + 0.2 * sizes
    elif any(layer.keeps is Keeps.STATE for layer in model.layers):
        gib = 0.3 + 0.9 * sizes
    else:
        gib = 0.35 + 0.5 * sizes
    return Term(gib, 0.3, f"captured for up to {min(batch.sequences, 512)} sequences")
