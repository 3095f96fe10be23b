# SPDX-License-Identifier: Apache-2.0
"""The stacks that vLLM's own watchdog leaves of what does not move (0.33, --watchdog-config).

Each engine and worker writes VLLM_STACK_DUMP_for_engine_0_PID.log or .._worker_RANK_PID.log into
`dump_dir`. The directory is the service's user's: nothing but plain files of bounded size is read.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

_NAME = re.compile(r"VLLM_STACK_DUMP_for_(?:engine|worker)_\d{1,6}_(\d{1,10})\.log")
MOST_BYTES = 64 * 1024
"""Of the end of a file, where the last stall is."""

MOST_FILES = 4096


def watchdog_dumps(directory: str, pids: Iterable[int]) -> Mapping[int, str]:
    """Return what the watchdog wrote of these processes, by process id; never raises."""
    wanted = frozenset(pids)
    found: dict[int, str] = {}
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for _, entry in zip(range(MOST_FILES), entries, strict=False)]
    except OSError:
        return found
    for name in names:
        match = _NAME.fullmatch(name)
        if match is not None and (pid := int(match[1])) in wanted:
            text = _end_of(Path(directory) / name)
            if text:
                found[pid] = text
    return found


def _end_of(file: Path) -> str:
    try:
        opened = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        status = os.fstat(opened)
        if not stat.S_ISREG(status.st_mode):
            return ""
        data = os.pread(opened, MOST_BYTES, max(0, status.st_size - MOST_BYTES))
    except OSError:
        return ""
    finally:
        os.close(opened)
    return data.decode("utf-8", "replace").strip()
