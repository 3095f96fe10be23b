# SPDX-License-Identifier: Apache-2.0
"""A line as a shell divides it into words."""

from __future__ import annotations

import shlex


def split(text: str) -> tuple[str, ...]:
    """Return the words of a line; where quotes do not match, what spaces divide."""
    try:
        return tuple(shlex.split(text, comments=False))
    except ValueError:
        return tuple(text.split())
