# SPDX-License-Identifier: Apache-2.0
"""Which kernels a card gets unasked, as far as their memory differs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from agent.core.planner.versions import Version

HOPPER = r"(?i)\b(?:g?h[128]00|h20|h800)\b"
OLDER = (
    r"(?i)\b(?:a100|a800|a10g?|a16|a2|a30|a40|a\d{4}|l4|l40s?|v100|t4|[34]0[5-9]0|rtx 6000 ada)\b"
)
"""Cards before Hopper, and Ada: their 4-bit floats run on Marlin."""

TRITON_MXFP4 = (0, 13)
"""From here Hopper multiplies MXFP4 with Triton's kernels (64.38 GiB of gpt-oss-120b); before, with
Marlin (65.97), which pads the hidden size too."""

MARLIN_STEP = 128
PLAIN_STEP = 64


@dataclass(frozen=True, slots=True)
class Kernels:
    """What the kernels add: `hidden_step` is what MXFP4's pads the hidden size to a multiple of.

    `unsure`: nothing tells which of them runs.
    """

    hidden_step: int = PLAIN_STEP
    unsure: bool = True


ANY_KERNELS = Kernels()


def kernels_of(version: Version, gpu_name: str) -> Kernels:
    """Return the kernels of this release on this card."""
    if version.release < TRITON_MXFP4 or re.search(OLDER, gpu_name):
        return Kernels(MARLIN_STEP, unsure=False)
    return Kernels(PLAIN_STEP, unsure=re.search(HOPPER, gpu_name) is None)
