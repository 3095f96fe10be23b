# SPDX-License-Identifier: Apache-2.0
"""Hands the last hours to the next process of the agent; they end with the boot."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from agent.core.past.kept import MOST_BYTES, as_bytes, from_bytes
from agent.core.past.past import Past

NAME = "past"


def read_past(directory: Path, at: float) -> Past:
    """Return what an earlier process has left at an earlier agent time; an empty one if none."""
    try:
        with (directory / NAME).open("rb") as file:
            return from_bytes(file.read(MOST_BYTES), at)
    except OSError:
        return Past()


def write_past(directory: Path, past: Past) -> None:
    """Leave it for the next process; a full /run costs the plots only."""
    beside = directory / f"{NAME}.new"
    with contextlib.suppress(OSError):
        beside.write_bytes(as_bytes(past))
        beside.chmod(0o600)
        os.replace(beside, directory / NAME)  # noqa: PTH105
