# SPDX-License-Identifier: Apache-2.0
"""What a tensor takes of PyTorch's caching allocator (c10/cuda/CUDACachingAllocator of 2.5..2.13).

A large tensor gets whole blocks of the driver, and what is left of the last is split off for others
only where it is more than a small buffer. Expandable segments split to the byte.
"""

from __future__ import annotations

MIB = 2**20
LARGE = 10 * MIB
"""From here a tensor has blocks of its own (kMinLargeAlloc)."""

BLOCK = 2 * MIB
"""kRoundLarge."""

LEFT = MIB
"""No more than this is left unsplit (kSmallSize)."""


def in_blocks(size: float) -> float:
    """Return the bytes that are counted as allocated for a tensor of so many."""
    left = -size % BLOCK
    return size if size < LARGE or left > LEFT else size + left
