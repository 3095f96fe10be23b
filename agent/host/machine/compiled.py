# SPDX-License-Identifier: Apache-2.0
"""The directories of compiled code that vLLM keeps for a service."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from agent.core.stages.caches import Compiled
from agent.host.files.foreign import entries, files_below

MOST_FILES = 200_000
"""Of one compilation; the largest seen has 30,000."""

PLACES = ("torch_compile_cache", "torch_compile_cache/torch_aot_compile")
_HASH = re.compile(r"[0-9a-f]{8,128}")


def compiled(root: Path) -> Iterator[Compiled]:
    """Give what lies below VLLM_CACHE_ROOT; nothing where no time of use is kept (noatime)."""
    for place in (root / name for name in PLACES):
        try:
            if os.statvfs(place).f_flag & os.ST_NOATIME:
                continue
            found = list(entries(place))
        except OSError:
            continue
        for entry in found:
            if entry.is_dir(follow_symlinks=False) and _HASH.fullmatch(entry.name):
                yield _read(entry.path)


def _read(directory: str) -> Compiled:
    size, used_at = 0, 0.0
    for file in files_below(directory, MOST_FILES):
        try:
            info = file.stat(follow_symlinks=False)
        except OSError:
            continue
        size += info.st_blocks * 512
        used_at = max(used_at, info.st_atime, info.st_mtime)
    return Compiled(directory, size, used_at or os.lstat(directory).st_mtime)
