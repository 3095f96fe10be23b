# SPDX-License-Identifier: Apache-2.0
"""How a line of a failure is shown in a sentence."""

from __future__ import annotations

SHOWN_CHARACTERS = 200


def shortened(line: str) -> str:
    """Return a log line as far as a sentence has room for it."""
    return line if len(line) <= SHOWN_CHARACTERS else f"{line[:SHOWN_CHARACTERS]}..."
