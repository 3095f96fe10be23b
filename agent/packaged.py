# SPDX-License-Identifier: Apache-2.0
"""Finds data files of this package without importlib.resources.

That would load zip, bz2, lzma and tempfile: 1.9 MiB of the daemon on Debian 12.
"""

from __future__ import annotations

from pathlib import Path

import agent


def packaged(room: str, *name: str) -> Path:
    """Return the path of a data file: `room` is its folder below agent/, which lies on a disk."""
    return Path(agent.__path__[0]).joinpath(room, *name)
