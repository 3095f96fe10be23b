# SPDX-License-Identifier: Apache-2.0
"""HTTP by urllib3 with one deadline and one bound of bytes over a whole call.

The timeouts of urllib3 hold for each socket operation, so a server that sends a byte now and then
keeps a caller for ever: one header, a byte each 4 s, holds it for 30 days. And nothing bounds what
is received: urllib3 (1.26, 2.x) reads the line of a chunk's size to its end, wherever that is.
Here every receive gets what is left of the call's time and bytes.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.filepost import encode_multipart_formdata
from urllib3.util import parse_url

from agent.host.vllm.access import OPEN, Access
from agent.host.vllm.encrypted import secured


class Allowance:
    """The time and the bytes that a call may take; one call after another, in one thread."""

    __slots__ = ("_at", "_bytes")

    def __init__(self) -> None:
        self._at = 0.0
        self._bytes = 0

    def start(self, seconds: float, received_bytes: int) -> None:
        """Allow `seconds` from now on, and so many bytes to be received."""
        self._at = time.monotonic() + seconds
        self._bytes = received_bytes

    def more(self, received_bytes: int) -> None:
        """Allow so many bytes besides what is left."""
        self._bytes += received_bytes

    def take(self, received_bytes: int) -> None:
        """Count what was received; raise OSError when it is more than allowed."""
        self._bytes -= received_bytes
        if self.overrun():
            raise OSError("more was received than is allowed")

    def overrun(self) -> bool:
        """Tell whether the call ended because the server sent too much."""
        return self._bytes < 0

    def left(self) -> float:
        """Return the seconds left; raise TimeoutError when there are none."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline of the call has passed")
        return left

    def passed(self) -> bool:
        """Tell whether the time is used up."""
        return time.monotonic() >= self._at


class _BoundedSocket(socket.socket):
    """A connected socket whose every operation ends with the allowance."""

    def __init__(self, connected: socket.socket, allowance: Allowance) -> None:
        super().__init__(connected.family, connected.type, connected.proto, connected.detach())
        self._allowance = allowance

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        self.settimeout(self._allowance.left())
        received = super().recv_into(buffer, nbytes, flags)
        self._allowance.take(received)
        return received

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        self.settimeout(self._allowance.left())
        received = super().recv(bufsize, flags)
        self._allowance.take(len(received))
        return received

    def sendall(self, data: Any, flags: int = 0) -> None:
        self.settimeout(self._allowance.left())
        super().sendall(data, flags)


def bounded_pools(
    base_url: str, allowance: Allowance, access: Access = OPEN
) -> Callable[[], HTTPConnectionPool]:
    """Return what makes urllib3's pools of one connection to that server, within the allowance.

    `access` says whether it goes by a Unix socket or through TLS. Use them with `retries=False`:
    then a call is tried once, follows no redirect, and raises what happened as it is.
    """

    class Connection(HTTPConnection):
        def _new_conn(self) -> Any:
            if access.uds is not None:
                return _unix(access.uds, allowance)
            return super()._new_conn()  # type: ignore[misc]

        def connect(self) -> None:
            parent: Any = super()
            parent.connect()
            self.sock = _BoundedSocket(self.sock, allowance)
            if access.tls:
                self.sock = secured(self.sock, access)

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    address = parse_url(base_url)
    return partial(Pool, address.host or "", address.port, maxsize=1)


def content_of(asked: Any, sound: bytes | None) -> tuple[bytes | None, Mapping[str, str]]:
    """Return the body of a request, and the header that names its kind."""
    if sound is not None:
        fields = [*asked.items(), ("file", ("silence.wav", sound, "audio/wav"))]
        content, kind = encode_multipart_formdata(fields)
        return content, {"Content-Type": kind}
    if asked is None:
        return None, {}
    return json.dumps(asked).encode(), {"Content-Type": "application/json"}


def _unix(path: str, allowance: Allowance) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.settimeout(allowance.left())
        made.connect(path)
    except OSError:
        made.close()
        raise
    return made
