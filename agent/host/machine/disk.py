# SPDX-License-Identifier: Apache-2.0
"""How full a file system is; the call hangs for as long as a network file system does."""

from __future__ import annotations

import os
from pathlib import Path

from agent.core.view.host import Disk


def disk_space(path: str) -> Disk:
    """Return the space below `path`, or below the nearest directory above that exists.

    Raises OSError when the file system does not answer.
    """
    directory = Path(path)
    while True:
        try:
            found = os.statvfs(directory)
        except (FileNotFoundError, NotADirectoryError):
            if directory == directory.parent:
                raise
            directory = directory.parent
        else:
            return Disk(path, found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)
