# SPDX-License-Identifier: Apache-2.0
"""A record of vLLM's that quotes a client: how far it goes."""

from __future__ import annotations

QUOTED = 2_000
"""Characters of a record in which its quotation marks are counted."""


def is_frame(text: str) -> bool:
    """Tell whether a line names the place of a frame of a traceback."""
    return text.startswith("  ") and "File " in text


def is_open(text: str) -> bool:
    """Tell whether a quotation begins in the line and does not end there."""
    part = text[:QUOTED]
    return any(part.count(mark) % 2 for mark in "'\"`") or len(text) > QUOTED
