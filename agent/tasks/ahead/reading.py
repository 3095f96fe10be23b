# SPDX-License-Identifier: Apache-2.0
"""Reads what is listed into the page cache, as far as memory allows, until told to stop."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from agent.core.record import dataclass
from agent.core.state.start.ahead import FilesRead
from agent.host.machine.page_cache import read_span, resident_bytes
from agent.tasks.ahead.listed import Listed, opened

READERS: Final = 4
"""So many reads at a time: a disk that does one after the other idles in between."""

BUFFER_BYTES: Final = 1 << 20

LEAST_BYTES: Final = 2 << 30
LEAST_SHARE: Final = 0.1
"""Memory that stays available: the larger of the two, the share being of all memory."""

SHORT = "memory is short"
ENDED = "it was ended"


@dataclass(slots=True)
class _Work:
    """What the readers share, under one lock."""

    left: Iterator[tuple[Listed, int]]
    room_bytes: int
    read_bytes: int = 0
    stopped: str = ""


def read_ahead(
    files: Iterable[Listed],
    available: Callable[[], tuple[int, int]],
    ended: threading.Event,
) -> FilesRead:
    """Read the files in order; `available` gives the available and the total bytes of memory."""
    wanted, there, size, resident = [], 0, 0, 0
    for one in files:
        here = _resident(one)
        if here is None:
            continue
        there, size, resident = there + 1, size + one.size_bytes, resident + here
        if here < one.size_bytes:
            wanted.append((one, one.size_bytes - here))
        if ended.is_set():
            break
    work = _Work(iter(wanted), _room(available))
    lock = threading.Lock()
    threads = [
        threading.Thread(target=_read, args=(work, lock, available, ended), daemon=True)
        for _ in range(READERS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stopped = ENDED if ended.is_set() else work.stopped
    return FilesRead(there, size, min(resident, size), work.read_bytes, stopped)


def _resident(one: Listed) -> int | None:
    descriptor = opened(one.path)
    if descriptor is None:
        return None
    try:
        return min(resident_bytes(descriptor, one.spans), one.size_bytes)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _room(available: Callable[[], tuple[int, int]]) -> int:
    """Return the bytes that may be read: memory that is free or would be given up gladly."""
    free, total = available()
    return free - max(LEAST_BYTES, int(total * LEAST_SHARE))


def _read(
    work: _Work,
    lock: threading.Lock,
    available: Callable[[], tuple[int, int]],
    ended: threading.Event,
) -> None:
    buffer = bytearray(BUFFER_BYTES)
    while not ended.is_set():
        with lock:
            taken = None if work.stopped else next(work.left, None)
            if taken is not None and (taken[1] > work.room_bytes or _room(available) <= 0):
                work.stopped, taken = SHORT, None
            if taken is not None:
                work.room_bytes -= taken[1]
        if taken is None:
            return
        count = _read_file(taken[0], buffer, ended)
        with lock:
            work.read_bytes += min(count, taken[1])


def _read_file(one: Listed, buffer: bytearray, ended: threading.Event) -> int:
    descriptor = opened(one.path)
    if descriptor is None:
        return 0
    count = 0
    try:
        for span in one.spans:
            for got in read_span(descriptor, span, buffer):
                count += got
                if ended.is_set():
                    return count
    except OSError:
        pass
    finally:
        os.close(descriptor)
    return count
