# SPDX-License-Identifier: Apache-2.0
"""The agent's end of the control socket: one line of JSON in, one line of JSON out.

Only root and members of the group llmagent can connect, by the modes of the file and its directory,
which llmagent.service makes as that group's. As a mode can be changed by hand, the kernel is asked
besides who did (SO_PEERCRED, unix(7)). One client is served at a time, for at most a few seconds,
and no more is read than a request may have.
"""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd
import select
import socket
import struct
import time
from pathlib import Path

from agent.core.record import dataclass
from agent.core.state.steering.asked import LONGEST_REQUEST

GROUP = "llmagent"
READ_SECONDS = 2.0
BACKLOG = 8
SO_PEERGROUPS = 59
"""Linux 4.13's option for a peer's supplementary groups; Python has no name for it."""

MOST_GROUPS = 256
"""As many as getsockopt has room for in Python: 1024 bytes. Who is in more is not known by them."""


@dataclass(slots=True)
class Client:
    """One that has connected: its line, still to be judged, and who it is."""

    connection: socket.socket
    line: str
    by: str

    def answer(self, *, done: bool, message: str) -> None:
        """Tell what came of it and hang up; one that went away is not told."""
        text = json.dumps({"done": done, "message": message}) + "\n"
        with contextlib.suppress(OSError), self.connection:
            self.connection.settimeout(READ_SECONDS)
            self.connection.sendall(text.encode())


class Listener:
    """Listens from construction to `close`. Raises OSError where the socket cannot be made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._woken, self._wake = socket.socketpair()
        self._gid = _gid()
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            path.unlink(missing_ok=True)  # of an earlier process: the instance lock is ours
            self._socket.bind(str(path))
            ours = path.stat().st_gid == self._gid  # as the directory's set-group-ID bit made it
            path.chmod(0o660 if ours else 0o600)
            self._socket.listen(BACKLOG)  # nobody could connect before
        except OSError:
            self.close()
            raise

    def wait(self, seconds: float) -> Client | None:
        """Return the next client that may ask and has asked, None for none until then."""
        ready, _, _ = select.select([self._socket, self._woken], [], [], seconds)
        if self._woken in ready:
            self._woken.recv(64)
        if self._socket not in ready:
            return None
        connection, _ = self._socket.accept()
        by = self._who(connection)
        client = Client(connection, "", by)
        # Read first: a client that is hung up on while it writes does not see the answer.
        line = _line(connection)
        if not by:
            client.answer(done=False, message=f"only root and the group {GROUP} may ask")
            return None
        if line is None:
            client.answer(done=False, message="a request is one line, sent at once")
            return None
        client.line = line
        return client

    def wake(self) -> None:
        """End a `wait`. From any thread."""
        with contextlib.suppress(OSError):
            self._wake.send(b"\0")

    def close(self) -> None:
        """Stop to listen; the file goes, too."""
        self._path.unlink(missing_ok=True)
        for end in (self._socket, self._woken, self._wake):
            end.close()

    def _who(self, connection: socket.socket) -> str:
        """Return the name of who has connected, "" for one that may not ask."""
        size = struct.calcsize("3i")
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        _, uid, gid = struct.unpack("3i", peer)
        groups = {gid, *groups_of(connection)}
        if uid not in (0, os.geteuid()) and (self._gid is None or self._gid not in groups):
            return ""
        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            return f"uid {uid}"


def groups_of(connection: socket.socket) -> tuple[int, ...]:
    """Return the supplementary groups of who is at the other end."""
    try:
        found = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 4 * MOST_GROUPS)
    except OSError:
        return ()
    return struct.unpack(f"{len(found) // 4}I", found)


def _gid() -> int | None:
    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return None


def _line(connection: socket.socket) -> str | None:
    """Return the line that a client sends, None where it sends none, too much, or too slowly."""
    deadline = time.monotonic() + READ_SECONDS
    found = b""
    while b"\n" not in found:
        left = deadline - time.monotonic()
        if left <= 0 or len(found) > LONGEST_REQUEST:
            return None
        connection.settimeout(left)
        try:
            piece = connection.recv(LONGEST_REQUEST + 1)
        except OSError:
            return None
        if not piece:
            return None
        found += piece
    return found.partition(b"\n")[0].decode("utf-8", "replace")
