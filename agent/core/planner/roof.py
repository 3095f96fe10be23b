# SPDX-License-Identifier: Apache-2.0
"""How fast a model can possibly decode: every token reads all active weights once."""

from __future__ import annotations

from dataclasses import replace

from agent.core.measures import GIB
from agent.core.planner.model import Model
from agent.core.planner.weights import counted

ACTIVE_EXPERTS = 8
"""Experts of a token where config.json does not say; the usual number is 2 to 8."""


def decode_roof(
    model: Model, quantization: str | None, bandwidth_bytes_per_second: float, gpus: int = 1
) -> float:
    """Return tokens a second at batch 1 that the memory's bandwidth allows, without speculation.

    The input embedding is left out: only one row of it is read. KV cache and kernels' launches
    come on top, so that a measured value lies below.
    """
    active = model
    if model.experts is not None:
        count = min(model.experts.active or ACTIVE_EXPERTS, model.experts.count)
        active = replace(model, experts=replace(model.experts, count=count))
    weights = counted(active, quantization, gpus, 1).gib * GIB
    if not model.tied_embeddings:
        weights -= model.vocab_size * model.hidden_size * model.dtype_bytes / gpus
    return bandwidth_bytes_per_second / weights
