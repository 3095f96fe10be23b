# SPDX-License-Identifier: Apache-2.0
"""What CUDA graphs take: each captured size keeps the kernels of every layer.

Fitted to what vLLM 0.19..0.28 printed of 18 starts (0.5B to 80 layers, 1 to 1024 sequences), with
errors of 0.3 GiB at most but for one with experts spread over its GPUs.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent.core.measures import GIB
from agent.core.planner.model import Model
from agent.core.planner.overheads import Term
from agent.core.planner.versions import DECODES_IN_GRAPHS, Version

MIB = 2**20
MOST_CAPTURED = 512
FIRST_SIZES = (1, 2, 4)
FEW, FEW_STEP, MANY_STEP = 256, 8, 16
"""vLLM captures 1, 2, 4, then every 8th size below 256 and every 16th from there
(config/vllm.py of 0.11..0.33)."""

BASE_GIB = 0.22
"""The first graph, with the pool that all share."""

LAYER_MIB, LAYER_MIB_PER_HIDDEN = 0.06, 0.032
"""What a graph keeps of one layer, and what it keeps more for each 1024 of the hidden size."""

ERROR_GIB, ERROR_SHARE = 0.2, 0.1
SPREAD_ERROR_SHARE = 1.0
"""With experts spread over GPUs, whose exchange is captured too: GLM-5.2 printed 4.99 of 2.2."""


def sizes_up_to(most: int) -> tuple[int, ...]:
    """Return the batch sizes that are captured unasked when the largest is to be `most`."""
    sizes = (*FIRST_SIZES, *range(FEW_STEP, FEW, FEW_STEP), *range(FEW, most + 1, MANY_STEP))
    return tuple(size for size in sizes if size <= most)


def cuda_graphs(
    model: Model,
    sequences: int,
    version: Version,
    *,
    enforce_eager: bool,
    stages: int = 1,
    asked: Sequence[int] | None = None,
    spread: bool = False,
) -> Term:
    """Return the graphs of one GPU; `asked` are the sizes that an option names.

    `spread`: each GPU has some of the experts, none is split. What pools never decodes.
    """
    if enforce_eager:
        return Term(0.0, 0.0, "none: enforce_eager")
    most = min(2 * sequences, MOST_CAPTURED)
    sizes = tuple(asked) if asked is not None else sizes_up_to(most)
    # Batches that only decode are captured whole besides, up to the sequences that there may be.
    decoding = [size for size in sizes if size <= sequences and not model.pools]
    graphs = len(sizes) + (len(decoding) if version.release >= DECODES_IN_GRAPHS else 0)
    each = LAYER_MIB + LAYER_MIB_PER_HIDDEN * model.hidden_size / 1024
    layers = len(model.layers) / stages
    gib = BASE_GIB * (not model.pools) + layers * graphs * each * MIB / GIB
    error = ERROR_GIB + (SPREAD_ERROR_SHARE if spread else ERROR_SHARE) * gib
    return Term(gib, error, f"{graphs} graphs of {layers:.0f} layers, for {most} tokens at most")
