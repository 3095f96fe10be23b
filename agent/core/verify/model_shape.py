# SPDX-License-Identifier: Apache-2.0
"""The attention of a model, as the planner reads it, for the arithmetic of its KV cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.core.planner.config_keys import NotAModelError
from agent.core.planner.layers import Keeps
from agent.core.planner.model import model_of
from agent.core.record import dataclass


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What config.json says of the attention; `dtype_bytes` are those that vLLM loads.

    `uniform` is False for models with sliding windows, latent attention, recurrent layers or
    layers that share a cache: there tokens and bytes have no fixed ratio.
    """

    layers: int
    kv_heads: int
    head_dim: int
    dtype_bytes: int
    uniform: bool = True


def shape_of(config: Mapping[str, Any]) -> ModelShape | None:
    """Read the parsed config.json of a transformers model; None when it lacks the numbers."""
    try:
        model = model_of(config)
    except NotAModelError:
        return None
    kept = {(layer.keeps, layer.kv_heads, layer.kv_width) for layer in model.layers}
    uniform = model.known and len(kept) == 1 and next(iter(kept))[0] is Keeps.TOKENS
    heads = [layer for layer in model.layers if layer.kv_heads]
    if not heads:
        return None
    return ModelShape(
        layers=len(model.layers),
        kv_heads=heads[0].kv_heads,
        head_dim=heads[0].kv_width // 2,
        dtype_bytes=model.dtype_bytes,
        uniform=uniform,
    )


def sees(config: Mapping[str, Any] | None) -> bool:
    """Tell whether a model takes pictures, by its config.json; a doubt is a yes.

    The keys are those of transformers (vision_config, image_token_id) and of models that came with
    code of their own (img_processor, mm_vision_tower, thinker_config around the others).
    """
    if config is None:
        return False
    inner = config.get("thinker_config")
    keys = (*config, *(inner if isinstance(inner, Mapping) else ()))
    return any("vision" in key or "image" in key or key == "img_processor" for key in keys)
