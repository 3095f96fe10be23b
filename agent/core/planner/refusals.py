# SPDX-License-Identifier: Apache-2.0
"""Splits over GPUs that vLLM refuses, whatever memory there is."""

from __future__ import annotations

import math

from agent.core.planner.layers import Keeps
from agent.core.planner.model import Model

VOCABULARY_STEP = 64
_CACHES_HEADS = (Keeps.TOKENS, Keeps.WINDOW, Keeps.CHUNK)


def refusal_of(model: Model, tensor_parallel_size: int, pipeline_parallel_size: int) -> str:
    """Return why the model cannot be split like this, "" where it can (vLLM 0.6.3..0.32)."""
    tp, pp = tensor_parallel_size, pipeline_parallel_size
    if not model.known:
        return ""
    if any(layer.attends for layer in model.layers) and model.heads % tp:
        return f"{model.heads} attention heads do not divide by tensor_parallel_size {tp}"
    for kv_heads in {x.kv_heads for x in model.layers if x.keeps in _CACHES_HEADS and x.kv_heads}:
        if max(kv_heads, tp) % min(kv_heads, tp):
            return f"{kv_heads} heads of keys and values do not divide by {tp} GPUs"
    rows = math.ceil(model.vocab_size / VOCABULARY_STEP) * VOCABULARY_STEP
    if rows % tp:
        return f"a vocabulary of {rows} does not divide by tensor_parallel_size {tp}"
    if pp > len(model.layers):
        return f"{len(model.layers)} layers are fewer than pipeline_parallel_size {pp}"
    return ""
