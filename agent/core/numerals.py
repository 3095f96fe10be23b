# SPDX-License-Identifier: Apache-2.0
"""Whole numbers in texts that strangers wrote: `int` refuses 5,000 digits, and takes "²" for none.

`str.isdigit` is true of "²" and `str.isdecimal` of "٣"; `int` raises ValueError for the first, and
from Python 3.11 for more than 4,300 digits of any kind. What is asked here is what the programs
that read such a text would take: ASCII digits, up to a bound.
"""

from __future__ import annotations

MOST = 10**18
"""More than any host has of anything, and within the 64 bits of SQLite and JSON readers."""

MOST_PORT = 0xFFFF
"""The largest TCP port (RFC 9293, section 3.1: 16 bits)."""

MOST_CARDS = 64
"""More GPUs than one host has (an HGX or DGX host has 8 or 16)."""

_LONGEST = 40


def whole_number(text: str, most: int = MOST) -> int | None:
    """Return a number without sign of at most `most`, None for any other text."""
    if not text.isascii() or not text.isdecimal() or len(text) > _LONGEST:
        return None
    number = int(text)
    return number if number <= most else None
