# SPDX-License-Identifier: Apache-2.0
"""A small HTTP/1.1 server for GET, with a bound on connections, sizes and every wait.

http.server has none of these, and spends more time on parsing a request's headers with the e-mail
parser than the agent needs for its answer.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import field
from http import HTTPStatus

from agent.core.record import dataclass
from agent.daemon.exporter.listening import LIMITS, ConnectionLimits, listen

_HEAD_BYTES = 16 << 10
_GIVE_WAY_SECONDS = 0.25
"""A thread whose client was hung up on ends within a millisecond, as does one that has answered."""
_CROWDED_SECONDS = 1.0
"""So long after somebody found no place nobody keeps one beyond his answer."""
_JUST_COME_SECONDS = 0.1
_READS_SECONDS = 1.0
"""An answer of 130 KiB is taken in this time over 1 Mbit/s; who reads none of it may give way."""
_UNREAD_BYTES = 256 << 10
"""Of an answer that a client does not read the kernel keeps twice this: 32 of them are 16 MiB."""
_METHODS = ("GET", "HEAD")


@dataclass(frozen=True, slots=True)
class Request:
    """A request without its body; `query` is what follows the question mark, as it was sent.

    The names of `headers` are in lower case; `peer` is who asks.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    peer: str = ""
    query: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; `headers` beside the content's type and length."""

    status: HTTPStatus
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(eq=False, slots=True)
class _Connection:
    sock: socket.socket
    deadline: float
    peer: str
    waiting: bool = True
    sends: bool = False
    since: float = field(default_factory=time.monotonic)
    rest: bytes = field(default=b"")

    def hang_up(self) -> None:
        # Not SSLSocket's own method: it would change the state under the thread that reads.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)


class HttpServer:
    """Serves on one address from threads of its own; `answer` is called from several at once.

    When all connections are taken, the one that has waited longest for a request gives way, or
    whose client does not read its answer; and for a while each connection ends with its next
    answer. So neither idle, dribbling nor ever asking clients keep a scraper out. A connection has
    its thread, and the threads are bounded too: one that gives way has ended before another begins.
    """

    def __init__(
        self,
        host: str,
        port: int,
        answer: Callable[[Request], Response],
        tls: Callable[[], ssl.SSLContext | None],
        limits: ConnectionLimits = LIMITS,
    ) -> None:
        """Listen at once. Raises AgentError when the address cannot be had."""
        self._answer = answer
        self._tls = tls
        self._limits = limits
        self._listener = listen(host, port)
        self._waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._open: set[_Connection] = set()
        self._room = threading.BoundedSemaphore(limits.connections)
        self._crowded_until = 0.0
        self._thread = threading.Thread(target=self._accept, name="metrics", daemon=True)

    @property
    def port(self) -> int:
        """The port that is listened on, also where 0 was asked for."""
        return int(self._listener.getsockname()[1])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop listening and hang up on everybody, within milliseconds."""
        os.eventfd_write(self._waker, 1)
        if self._thread.ident is not None:
            self._thread.join()
        self._listener.close()
        os.close(self._waker)
        with self._lock:
            for connection in self._open:
                connection.hang_up()

    def _accept(self) -> None:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(self._waker, select.POLLIN)
        while True:
            tick = self._limits.request * 500 if self._open else None
            ready = [descriptor for descriptor, _ in poll.poll(tick)]
            if self._waker in ready:
                return
            self._hang_up_late_ones()
            if ready:
                self._accept_one()

    def _hang_up_late_ones(self) -> None:
        now = time.monotonic()
        with self._lock:
            for connection in self._open:
                if connection.deadline <= now:
                    connection.hang_up()

    def _accept_one(self) -> None:
        try:
            sock, address = self._listener.accept()
            # Otherwise an answer behind TLS 1.3's session tickets waits 40 ms for a delayed ACK.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNREAD_BYTES)
        except OSError:
            # The client is gone already, or no descriptor is left: do not spin on the latter.
            time.sleep(0.01)
            return
        if not self._room.acquire(blocking=False) and not self._makes_room():
            sock.close()
            return
        peer = str(address[0])
        connection = _Connection(sock, time.monotonic() + self._limits.request, peer)
        with self._lock:
            self._open.add(connection)
        serve = threading.Thread(target=self._serve, args=(connection,), daemon=True)
        try:
            serve.start()
        except RuntimeError:
            self._forget(connection)

    def _makes_room(self) -> bool:
        """Wait for a place until whoever reads none of an answer had to give way."""
        self._crowded_until = time.monotonic() + _CROWDED_SECONDS
        while time.monotonic() < self._crowded_until + _GIVE_WAY_SECONDS:
            self._give_way()
            if self._room.acquire(timeout=_GIVE_WAY_SECONDS):
                return True
        return False

    def _give_way(self) -> None:
        """Hang up on who waits longest; who has just come may have a request under way."""
        now = time.monotonic()
        with self._lock:
            idle = [c for c in self._open if c.waiting and c.since < now - _JUST_COME_SECONDS]
            idle += [c for c in self._open if c.sends and c.since < now - _READS_SECONDS]
            if idle:
                min(idle, key=lambda c: c.deadline).hang_up()

    def _forget(self, connection: _Connection) -> None:
        with self._lock:
            self._open.discard(connection)
        with contextlib.suppress(OSError):
            connection.sock.close()
        self._room.release()

    def _serve(self, connection: _Connection) -> None:
        try:
            context = self._tls()
            if context is not None:
                wrapped = context.wrap_socket(
                    connection.sock, server_side=True, do_handshake_on_connect=False
                )
                connection.sock = wrapped
                wrapped.do_handshake()
            while self._serve_one(connection):
                connection.waiting, connection.since = True, time.monotonic()
                connection.deadline = time.monotonic() + self._limits.idle
        except OSError:
            # The client hung up, dawdled or does not speak TLS.
            pass
        finally:
            self._forget(connection)

    def _serve_one(self, connection: _Connection) -> bool:
        """Answer one request; tell whether the connection stays."""
        head = _read_head(connection)
        connection.waiting = False
        connection.deadline = time.monotonic() + self._limits.request
        if head is None:
            return False
        request = parse_head(head, connection.peer)
        stays = request is not None and _stays(head, request)
        response = self._respond(request)
        body = b"" if request is not None and request.method == "HEAD" else response.body
        stays = stays and time.monotonic() >= self._crowded_until
        connection.sends, connection.since = True, time.monotonic()
        connection.sock.sendall(_head(response, stays) + body)
        connection.sends = False
        return stays

    def _respond(self, request: Request | None) -> Response:
        if request is None:
            return plain(HTTPStatus.BAD_REQUEST)
        if request.method not in _METHODS:
            return plain(HTTPStatus.METHOD_NOT_ALLOWED, ("Allow", ", ".join(_METHODS)))
        return self._answer(request)


def plain(status: HTTPStatus, *headers: tuple[str, str]) -> Response:
    """Return an answer that only says its status."""
    return Response(status, "text/plain; charset=utf-8", f"{status.phrase}\n".encode(), headers)


def parse_head(head: bytes, peer: str = "") -> Request | None:
    """Read a request's first line and headers; None when they are none."""
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.0", "HTTP/1.1") or words[1][:1] in ("", "?"):
        return None
    path, _, query = words[1].partition("?")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            return None
        headers[name.lower()] = value.strip()
    return Request(words[0], path, headers, peer, query)


def _read_head(connection: _Connection) -> bytes | None:
    while b"\r\n\r\n" not in connection.rest:
        if len(connection.rest) > _HEAD_BYTES:
            return b""
        received = connection.sock.recv(4096)
        if not received:
            return None
        connection.rest += received
    head, _, connection.rest = connection.rest.partition(b"\r\n\r\n")
    return head


def _stays(head: bytes, request: Request) -> bool:
    """Tell whether more requests may follow; a body is not read, so nothing follows one."""
    has_body = "transfer-encoding" in request.headers or (
        request.headers.get("content-length", "0") != "0"
    )
    wishes = request.headers.get("connection", "").lower()
    is_old = head.partition(b"\r\n")[0].endswith(b"HTTP/1.0")
    return not has_body and "close" not in wishes and not is_old


def _head(response: Response, stays: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {response.status.value} {response.status.phrase}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        *(f"{name}: {value}" for name, value in response.headers),
    ]
    if not stays:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
