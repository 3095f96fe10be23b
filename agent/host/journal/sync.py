# SPDX-License-Identifier: Apache-2.0
"""Asks journald to finish writing down what it has been sent already."""

from __future__ import annotations

import socket
import time
from typing import Final

_SOCKET: Final = "/run/systemd/journal/io.systemd.journal"
# varlink: a JSON object and a NUL each way (what `journalctl --sync` does; systemd 228 and newer
# have the job, 242 and newer this way to it).
_REQUEST: Final = b'{"method":"io.systemd.Journal.Synchronize","parameters":{}}\0'
_ANSWER_BYTES: Final = 4096


def synchronize(timeout_seconds: float) -> bool:
    """Returns True once all lines written before the call can be read; False if not in time.

    A dead process's last lines may still be on their way when systemd says that it died: with a
    busy machine, 135 lines for 23 ms. Also False while journald is away. Takes 1 to 60 ms, as
    journald syncs its file to disk.
    """
    deadline = time.monotonic() + timeout_seconds
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as journald:
            journald.settimeout(timeout_seconds)
            journald.connect(_SOCKET)
            journald.sendall(_REQUEST)
            answer = b""
            while not answer.endswith(b"\0") and len(answer) < _ANSWER_BYTES:
                journald.settimeout(max(deadline - time.monotonic(), 0.001))
                received = journald.recv(_ANSWER_BYTES)
                if not received:
                    return False
                answer += received
    except OSError:
        return False
    return b'"error"' not in answer
