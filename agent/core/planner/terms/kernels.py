# SPDX-License-Identifier: Apache-2.0
"""Which kernels a card gets unasked, as far as their memory differs."""

from __future__ import annotations

import re

from agent.core.planner.versions import Version
from agent.core.record import dataclass

HOPPER = r"(?i)\b(?:g?h[128]00|h20|h800)\b"
OLDER = (
    r"(?i)\b(?:a100|a800|a10g?|a16|a2|a30|a40|a\d{4}|l4|l40s?|v100|t4|[34]0[5-9]0|rtx 6000 ada)\b"
)
"""Cards before Hopper, and Ada: their 4-bit floats run on Marlin."""

WITHOUT_FP8 = (
    r"(?i)\b(?:a100|a800|a10g?|a16|a2|a30|a40|a\d{4}|t4|[23]0[5-9]0"
    r"|quadro rtx \d000|titan rtx)\b"
)
"""Turing and Ampere (below 8.9): 8-bit floats are multiplied by Marlin there."""

MARLIN_BLOCKS = (0, 9)
"""From here Marlin multiplies block-FP8, too, and a block's scale stands in each of its rows
(prepare_fp8_layer_for_marlin of 0.9.2..0.33): Qwen3.5-35B-A3B-FP8 printed 34.71 GiB on an A100."""

TRITON_MXFP4 = (0, 13)
"""From here Hopper multiplies MXFP4 with Triton's kernels (64.38 GiB of gpt-oss-120b); before, with
Marlin (65.97), which pads the hidden size too."""

MARLIN_STEP = 128
PLAIN_STEP = 64


@dataclass(frozen=True, slots=True)
class Kernels:
    """What the kernels add: `hidden_step` is what MXFP4's pads the hidden size to a multiple of.

    `unsure`: nothing tells which of them runs. `scales_rows`: each row of a block has its scale.
    """

    hidden_step: int = PLAIN_STEP
    unsure: bool = True
    scales_rows: bool = False


ANY_KERNELS = Kernels()


def kernels_of(version: Version, gpu_name: str) -> Kernels:
    """Return the kernels of this release on this card."""
    rows = version.release >= MARLIN_BLOCKS and re.search(WITHOUT_FP8, gpu_name) is not None
    if version.release < TRITON_MXFP4 or re.search(OLDER, gpu_name):
        return Kernels(MARLIN_STEP, unsure=False, scales_rows=rows)
    return Kernels(PLAIN_STEP, unsure=re.search(HOPPER, gpu_name) is None, scales_rows=rows)
