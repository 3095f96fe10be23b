# SPDX-License-Identifier: Apache-2.0
"""The directories of compiled code that vLLM keeps for a service."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from agent.core.stages.caches import Compiled

PLACES = ("torch_compile_cache", "torch_compile_cache/torch_aot_compile")
_HASH = re.compile(r"[0-9a-f]{8,128}")


def compiled(root: Path) -> Iterator[Compiled]:
    """Give what lies below VLLM_CACHE_ROOT; nothing where no time of use is kept (noatime)."""
    for place in (root / name for name in PLACES):
        try:
            if os.statvfs(place).f_flag & os.ST_NOATIME:
                continue
            entries = list(os.scandir(place))
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False) and _HASH.fullmatch(entry.name):
                yield _read(entry.path)


def _read(directory: str) -> Compiled:
    size, used_at = 0, 0.0
    for where, _, names in os.walk(directory):
        for name in names:
            try:
                info = os.lstat(os.path.join(where, name))  # noqa: PTH118 - many files
            except OSError:
                continue
            size += info.st_blocks * 512
            used_at = max(used_at, info.st_atime, info.st_mtime)
    return Compiled(directory, size, used_at or os.lstat(directory).st_mtime)
