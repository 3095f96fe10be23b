# SPDX-License-Identifier: Apache-2.0
"""The parameters of image and audio encoders beside a language model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.core.planner.config_keys import kind_of, number, part
from agent.core.record import dataclass

LARGEST_IMAGE = 16384
"""Merged patches of the largest image that Qwen's processors make."""

LARGEST_VIDEO = 12288
"""Those of Qwen3-VL's longest video."""

OLD_FRAME_PAIRS, FRAME_PAIRS = 8, 7
"""Pairs of frames of Qwen2-VL's longest video: 16 frames, 14 since 0.9."""

FEWER_FRAMES = (0, 9)
TIME_STAMPS_COUNTED_RIGHT = (0, 13)

MOBILENET = 300_000_000
"""Gemma 3n's MobileNet-V5, which config.json does not lay out."""

SEEN_BOTH_WAYS = 2496
"""Tokens of Gemma 4's largest item, a video of 32 frames: what it shows is attended to both ways,
so that one step computes all of it. The smallest ones, with embeddings of every layer, do not."""

WITHOUT_TOWER = "gemma4_unified"
PATCH_NUMBERS, SOUND_NUMBERS = 48 * 48 * 3, 640
"""Gemma 4 12B reads patches of 48 x 48 pixels and frames of sound with one matrix each."""

DOTS = "dots_ocr"
"""Its images are as large as Qwen's, of a gated MLP: 4.4 GiB beside the weights (0.12, a start)."""

FIRST, GATED, GATED_WIDTHS = "qwen2_vl", "qwen2_5_", 5
"""Rows of the width beside a gated MLP's of Qwen2.5-VL: 14.4 GiB of a video of 114,688 patches
(0.23, an A100)."""

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
    if kind_of(config).startswith(WITHOUT_TOWER):
        return hidden * (hidden + PATCH_NUMBERS + SOUND_NUMBERS)
    vision = next((table for name in VISION if (table := part(owner, name))), None)
    gated = kind_of(config).startswith("gemma4")
    seen = _vision(vision, hidden, gated=gated) if vision is not None else 0
    return seen + _audio(part(owner, "audio_config"), hidden)


def whole_item(config: Mapping[str, Any], text: Mapping[str, Any]) -> int:
    """Return the tokens of the largest item that no two steps may share, 0 where they may."""
    whole = kind_of(config).startswith("gemma4") and has_encoder(config)
    return SEEN_BOTH_WAYS if whole and not text.get("hidden_size_per_layer_input") else 0


@dataclass(frozen=True, slots=True)
class Item:
    """The largest image or video: merged patches that are `encoded`, tokens that `budget` holds."""

    encoded: int
    budget: int


@dataclass(frozen=True, slots=True)
class Encoder:
    """An encoder that takes images and videos as large as they are (Qwen's).

    `numbers` are held for one merged patch at the peak, `output` are the numbers of one that the
    language model reads; `frames` is how many frames a video may have, by how its family asks.
    """

    numbers: int
    output: int
    long_videos: bool
    stills: bool = False
    """It reads no videos, or none may come."""

    def largest_item(self, release: tuple[int, ...], max_model_len: int) -> Item:
        """Return what vLLM profiles with (get_max_video_tokens and -image_tokens, 0.8.5..0.32)."""
        if self.stills:
            return Item(LARGEST_IMAGE, LARGEST_IMAGE)
        if self.long_videos:
            video = LARGEST_VIDEO
            # 0.11 counts 12.5 tokens for one of a video, with its time stamps.
            budget = int(video * 12.5) if release < TIME_STAMPS_COUNTED_RIGHT else video
            return Item(max(video, LARGEST_IMAGE), max(budget, LARGEST_IMAGE))
        pairs = OLD_FRAME_PAIRS if release < FEWER_FRAMES else FRAME_PAIRS
        images = 1 if release < FEWER_FRAMES else 0
        fitting = max_model_len // LARGEST_IMAGE - images
        tokens = LARGEST_IMAGE * max(1, min(pairs, fitting))
        return Item(tokens, tokens)


def encoder_of(config: Mapping[str, Any], hidden: int) -> Encoder | None:
    """Return the encoder where its images are large; those of a fixed size take less than text."""
    vision = next((table for name in VISION if (table := part(_owner(config), name))), None)
    if vision is None or not kind_of(config).startswith(("qwen", DOTS)):
        return None
    merged = (number(vision, "spatial_merge_size") or 2) ** 2
    width = number(vision, "embed_dim", "hidden_size") or 1024
    stacked = vision.get("deepstack_visual_indexes")
    inner = number(vision, "intermediate_size") or 4 * width
    dots = kind_of(config).startswith(DOTS)
    # Of a gated MLP both halves stand beside their product; of another, what is activated beside
    # what it was.
    held = 2 * (inner + width)
    if kind_of(config).startswith(GATED):
        held = 3 * inner + GATED_WIDTHS * width
    elif kind_of(config).startswith(FIRST):
        held = inner + 4 * width
    return Encoder(
        numbers=merged * (3 * inner + 8 * width if dots else held),
        output=hidden * (1 + (len(stacked) if isinstance(stacked, list) else 0)),
        long_videos=not kind_of(config).startswith(("qwen2_vl", "qwen2_5_vl")),
        stills=dots,
    )


def _vision(vision: Mapping[str, Any], hidden: int, *, gated: bool = False) -> int:
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
    matrices = 3 if gated or vision.get("hidden_act") == "silu" else 2
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
    if number(audio, "conv_kernel_size") is not None:
        # Gemma 4's: a conformer has two MLPs, relative positions and a convolution in each layer.
        return depth * (8 * width * width + 4 * width * inner) + width * hidden
    return depth * (4 * width * width + 2 * width * inner) + width * hidden
