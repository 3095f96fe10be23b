# SPDX-License-Identifier: Apache-2.0
"""Quantized weights and their split over GPUs: a scale must not lie across two of them.

Block-FP8 by validate_fp8_block_shape and its kin for experts (fp8_utils of 0.8.5..0.32), AWQ and
GPTQ by their kernels' shape checks (marlin_utils, auto_awq and the mixed-precision kernels).
"""

from __future__ import annotations

from collections.abc import Iterator

from agent.core.planner.layers import Feed
from agent.core.planner.model import Model
from agent.core.planner.terms.formats import Format


def torn_scale(model: Model, stored: Format, gpus: int, *, whole_experts: bool = False) -> str:
    """Return why the format cannot be split over so many GPUs, "" where it can.

    `whole_experts`: each GPU has some of the experts (--enable-expert-parallel), none is split.

    Experts in AWQ and GPTQ are left out: where Marlin's kernel refuses their split, another one
    with smaller groups takes them.
    """
    if stored.block:
        experts = () if whole_experts else _blocks_only(model, gpus)
        for what, width in (*_rows(model, gpus), *experts):
            if width % stored.block:
                return (
                    f"block-FP8 scales {stored.block} x {stored.block} numbers, which does not "
                    f"divide the {what}'s {width:g} on each of {gpus} GPUs"
                )
    if stored.group and gpus > 1 and stored.plain.mlp == 0:
        for what, width in _rows(model, gpus):
            if width % stored.group:
                return (
                    f"{stored.name}: a group of {stored.group} numbers lies across GPUs in the "
                    f"{what}'s {width:g} on each of {gpus}"
                )
    return ""


def _rows(model: Model, gpus: int) -> Iterator[tuple[str, float]]:
    """Give the widths that are split where a matrix is read, of one GPU."""
    feeds = {layer.feed for layer in model.layers}
    if Feed.MLP in feeds:
        mlps = (layer for layer in model.layers if layer.feed is Feed.MLP)
        for inner in sorted({layer.inner or model.intermediate_size for layer in mlps}):
            yield "MLP", inner / gpus
    if Feed.EXPERTS in feeds and model.experts is not None:
        shared = model.experts.shared_intermediate_size
        if shared:
            yield "shared expert", shared / gpus


def _blocks_only(model: Model, gpus: int) -> Iterator[tuple[str, float]]:
    if model.experts is not None:
        yield "expert", model.experts.intermediate_size / gpus
