# SPDX-License-Identifier: Apache-2.0
"""HTTP for requests with one deadline over a whole call, whichever way the server dawdles.

The timeouts of requests hold for each socket operation, so a server that sends a byte now and then
keeps a caller for ever. Here every receive gets what is left of the call's time.
"""

from __future__ import annotations

import socket
import time
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.poolmanager import PoolManager

from agent.host.vllm.access import OPEN, Access
from agent.host.vllm.encrypted import secured


class Deadline:
    """A point in monotonic time that the calls of one thread share, one call after another."""

    __slots__ = ("_at",)

    def __init__(self) -> None:
        self._at = 0.0

    def start(self, seconds: float) -> None:
        """Allow `seconds` from now on."""
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds left; raise TimeoutError when there are none."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline of the call has passed")
        return left

    def passed(self) -> bool:
        """Tell whether the time is used up."""
        return time.monotonic() >= self._at


class _DeadlineSocket(socket.socket):
    """A connected socket whose every operation ends at the deadline."""

    def __init__(self, connected: socket.socket, deadline: Deadline) -> None:
        super().__init__(connected.family, connected.type, connected.proto, connected.detach())
        self._deadline = deadline

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        self.settimeout(self._deadline.left())
        return super().recv_into(buffer, nbytes, flags)

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        self.settimeout(self._deadline.left())
        return super().recv(bufsize, flags)

    def sendall(self, data: Any, flags: int = 0) -> None:
        self.settimeout(self._deadline.left())
        super().sendall(data, flags)


class DeadlineAdapter(HTTPAdapter):
    """Serves `http://` of a requests session, without retries, under the given deadline.

    `access` says whether that goes by a Unix socket or through TLS.
    """

    def __init__(self, deadline: Deadline, access: Access = OPEN) -> None:
        self._pool_class = _pool_class(deadline, access)
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *_args: Any, **_kwargs: Any) -> None:
        """Make requests open our connections in place of its own."""
        manager: Any = PoolManager(num_pools=1, maxsize=1)
        manager.pool_classes_by_scheme = {"http": self._pool_class}
        self.poolmanager = manager


def _pool_class(deadline: Deadline, access: Access) -> type[HTTPConnectionPool]:
    class Connection(HTTPConnection):
        def _new_conn(self) -> Any:
            if access.uds is not None:
                return _unix(access.uds, deadline)
            return super()._new_conn()  # type: ignore[misc]

        def connect(self) -> None:
            parent: Any = super()
            parent.connect()
            self.sock = _DeadlineSocket(self.sock, deadline)
            if access.tls:
                self.sock = secured(self.sock, access)

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    return Pool


def _unix(path: str, deadline: Deadline) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.settimeout(deadline.left())
        made.connect(path)
    except OSError:
        made.close()
        raise
    return made
