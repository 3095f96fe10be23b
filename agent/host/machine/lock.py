# SPDX-License-Identifier: Apache-2.0
"""Only one agent at a time: a lock that ends with its process, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from agent.errors import AgentError, HostLacksError


class AlreadyRunningError(AgentError):
    """Tells which process holds the lock."""


class InstanceLock:
    """Holds the lock from construction to `close`; the file stays, with our PID in it."""

    def __init__(self, path: Path) -> None:
        """Takes the lock or raises AlreadyRunningError; HostLacksError if the file cannot be."""
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as failure:
            raise HostLacksError(
                f"cannot make the lock {path}: {failure.strerror}; run as root, and see that"
                f" {path.parent} exists (RuntimeDirectory= of the unit makes it)"
            ) from failure
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as failure:
            holder = os.pread(self._descriptor, 32, 0).decode(errors="replace").strip()
            os.close(self._descriptor)
            raise AlreadyRunningError(
                f"llmagent runs already, as PID {holder or 'unknown'} (it holds {path}):"
                " use that one, or stop it with `systemctl stop llmagent`"
            ) from failure
        with contextlib.suppress(OSError):  # on a full disk the lock holds without the number
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        """Lets the next instance start."""
        os.close(self._descriptor)
