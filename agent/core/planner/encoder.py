# SPDX-License-Identifier: Apache-2.0
"""The parameters of image and audio encoders beside a language model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.core.planner.config_keys import kind_of, number, part

LARGEST_IMAGE = 16384
MOBILENET = 300_000_000
"""Gemma 3n's MobileNet-V5, which config.json does not lay out."""

VISION = ("vision_config", "vit_config", "visual")


def has_encoder(config: Mapping[str, Any]) -> bool:
    """Tell whether images, video or sound are encoded by this model."""
    owner = _owner(config)
    return any(part(owner, name) for name in (*VISION, "audio_config"))


def _owner(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Qwen's omni models have their encoders below the part that thinks."""
    return part(config, "thinker_config") or config


def encoder_parameters(config: Mapping[str, Any], hidden: int) -> int:
    """Return about how many parameters the encoders have; `hidden` is the language model's."""
    owner = _owner(config)
    vision = next((table for name in VISION if (table := part(owner, name))), None)
    seen = _vision(vision, hidden) if vision is not None else 0
    return seen + _audio(part(owner, "audio_config"), hidden)


def encoder_peak(config: Mapping[str, Any]) -> int:
    """Return about how many numbers the largest image takes at the peak; 0 where it is little.

    Qwen's encoders take images as they are, up to 16384 tokens of merged patches (vLLM 0.11..0.32
    profiles one such image); encoders of a fixed size take less than the text does.
    """
    vision = next((table for name in VISION if (table := part(_owner(config), name))), None)
    if vision is None or not kind_of(config).startswith("qwen"):
        return 0
    patches = LARGEST_IMAGE * (number(vision, "spatial_merge_size") or 2) ** 2
    width = number(vision, "embed_dim", "hidden_size") or 1024
    return patches * ((number(vision, "intermediate_size") or 4 * width) + 4 * width)


def _vision(vision: Mapping[str, Any], hidden: int) -> int:
    if "mobilenet" in str(vision.get("architecture") or ""):
        return MOBILENET
    width = number(vision, "embed_dim", "hidden_size", "width") or 1024
    depth = number(vision, "num_hidden_layers", "depth", "layers") or 24
    depth += number(vision, "num_global_layers") or 0
    ratio = vision.get("mlp_ratio")
    usual = int(width * ratio) if isinstance(ratio, int | float) else 4 * width
    inner = number(vision, "intermediate_size") or usual
    if inner > 8 * width:
        # GLM-4.1V and later: that is the projector's, the blocks have the output's width.
        inner = number(vision, "out_hidden_size") or usual
    matrices = 3 if vision.get("hidden_act") == "silu" else 2
    merged = width * (number(vision, "spatial_merge_size") or 1) ** 2
    bridges = 1 + len(vision.get("deepstack_visual_indexes") or ())
    bridge = bridges * (merged * merged + merged * hidden)
    return depth * (4 * width * width + matrices * width * inner) + bridge


def _audio(audio: Mapping[str, Any], hidden: int) -> int:
    width = number(audio, "d_model", "hidden_size")
    if width is None:
        return 0
    depth = number(audio, "encoder_layers", "num_hidden_layers", "num_blocks") or 24
    inner = number(audio, "encoder_ffn_dim", "intermediate_size") or 4 * width
    return depth * (4 * width * width + 2 * width * inner) + width * hidden
