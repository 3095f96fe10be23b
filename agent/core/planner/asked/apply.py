# SPDX-License-Identifier: Apache-2.0
"""What is asked, put upon a model and its cache."""

from __future__ import annotations

import math
from dataclasses import replace

from agent.core.planner.asked.ask import Asked
from agent.core.planner.layers import Keeps
from agent.core.planner.model import Model
from agent.core.planner.overheads import Term
from agent.core.planner.pool import Kv


def as_loaded(model: Model, asked: Asked) -> Model:
    """Return the model as it is loaded: without the encoder where no image may come.

    Where no video may come, what is profiled is the largest image.

    Pooled, it has no output head. With --mm-encoder-tp-mode data each GPU has the whole encoder,
    instead of a share, and with --mamba-ssm-cache-dtype recurrent states have numbers of another
    size.
    """
    if asked.state_bytes:
        layers = (
            replace(layer, state_bytes=asked.state_bytes) if layer.keeps is Keeps.STATE else layer
            for layer in model.layers
        )
        model = replace(model, layers=tuple(layers))
    if asked.pools:
        model = replace(model, pools=True, tied_embeddings=True)
    if asked.text_only:
        return replace(model, encodes=False, encoder_parameters=0, encoder=None, whole_item=0)
    if not asked.videos and model.encoder is not None:
        model = replace(model, encoder=replace(model.encoder, stills=True))
    if asked.encoder_copies > 1:
        return replace(model, encoder_parameters=model.encoder_parameters * asked.encoder_copies)
    return model


def on_one_replica(model: Model, asked: Asked) -> Model:
    """Return the model with the experts that one replica holds.

    Data-parallel replicas share the experts among them, whole with expert parallelism and in slices
    without (fused_moe/config.py, FusedMoEParallelConfig.make, vLLM 0.9..0.33).
    """
    if asked.data_parallel <= 1 or model.experts is None:
        return model
    count = math.ceil(model.experts.count / asked.data_parallel)
    return replace(model, experts=replace(model.experts, count=count))


def with_drafter(model: Model, asked: Asked) -> Model:
    """Return the model with the layers of the drafter, which keep a cache beside its own."""
    return replace(model, layers=(*model.layers, *asked.draft_layers))


def as_cached(kv: Kv, asked: Asked) -> Kv:
    """Return the cache with the block size, the split and the drafter's states as asked."""
    if asked.draft_tokens and any(group.keeps is Keeps.STATE for group in kv.groups):
        kv = replace(kv, state_blocks=kv.state_blocks + asked.draft_tokens)
    if asked.block_tokens and len(kv.groups) == 1 and kv.groups[0].keeps is not Keeps.STATE:
        groups = (replace(kv.groups[0], block_tokens=asked.block_tokens),)
        size = kv.block_bytes * asked.block_tokens / kv.block_tokens
        kv = replace(kv, block_tokens=asked.block_tokens, block_bytes=size, groups=groups)
    if asked.decode_context > 1:
        per_token = kv.bytes_per_token / asked.decode_context
        kv = replace(kv, spread=asked.decode_context, bytes_per_token=per_token)
    return kv


def offloaded(weights: Term, asked: Asked, layers: int) -> Term:
    """Return the weights that stay on the GPU with --cpu-offload-gb.

    vLLM moves tensors until that much is moved (offloader/uva.py, 0.6..0.33): one more at the most.
    """
    if not asked.cpu_offload_gib:
        return weights
    stays = max(0.0, weights.gib - asked.cpu_offload_gib)
    error = weights.error_gib + weights.gib / max(1, layers)
    return Term(stays, error, f"{weights.how}; {asked.cpu_offload_gib:g} GiB on the host")
