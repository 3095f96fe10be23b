# SPDX-License-Identifier: Apache-2.0
"""Reads files that the operator has named: anything may stand there by mistake.

A FIFO nobody writes into, a directory, a device or a file system's worth of zeros in the place of
a configuration is one clear error, and holds nobody up. Links are followed: they are his own.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import time
from pathlib import Path

WAIT_SECONDS = 5.0
"""For what comes by a pipe: `llmagent check /dev/stdin`."""

_PIECE = 1 << 16


def read_own(file: str | Path, most: int) -> bytes:
    """Return the content of a file or of what comes by a pipe; raises OSError.

    So it does for more than `most` bytes, and for a pipe that brings nothing for 5 s.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(kind):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
        return _content(descriptor, most, str(file), waits=not stat.S_ISREG(kind))
    finally:
        os.close(descriptor)


def _content(descriptor: int, most: int, file: str, *, waits: bool) -> bytes:
    content, ends = bytearray(), time.monotonic() + WAIT_SECONDS
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while len(content) <= most:
        if waits and not poll.poll(max(0.0, ends - time.monotonic()) * 1000):
            raise OSError(errno.ETIMEDOUT, f"nothing came within {WAIT_SECONDS:.0f} s", file)
        piece = os.read(descriptor, min(_PIECE, most + 1 - len(content)))
        if not piece:
            return bytes(content)
        content += piece
    raise OSError(errno.EFBIG, f"is larger than {most >> 10} KiB", file)
