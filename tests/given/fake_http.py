# SPDX-License-Identifier: Apache-2.0
"""A small real HTTP server on loopback whose answers a test writes down, dribbling included."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Reply = Callable[[BaseHTTPRequestHandler, bytes], None]


@dataclass
class FakeServer:
    """`replies` maps "METHOD /path" to what answers it; `asked` keeps each body received."""

    url: str
    closing: threading.Event
    replies: dict[str, Reply] = field(default_factory=dict)
    asked: list[tuple[str, bytes]] = field(default_factory=list)


def says(body: bytes | str, status: int = 200, kind: str = "application/json") -> Reply:
    data = body.encode() if isinstance(body, str) else body

    def reply(handler: BaseHTTPRequestHandler, _asked: bytes) -> None:
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return reply


def raw(data: bytes) -> Reply:
    """Sends these bytes in place of an HTTP answer and hangs up."""

    def reply(handler: BaseHTTPRequestHandler, _asked: bytes) -> None:
        handler.wfile.write(data)
        handler.close_connection = True

    return reply


def dribbles(server: FakeServer, start: bytes, drop: bytes, gap: float = 0.02) -> Reply:
    """Sends `start`, then `drop` again and again until the client or the test is gone."""

    def reply(handler: BaseHTTPRequestHandler, _asked: bytes) -> None:
        try:
            handler.wfile.write(start)
            while not server.closing.wait(gap):
                handler.wfile.write(drop)
                handler.wfile.flush()
        except OSError:
            pass
        handler.close_connection = True

    return reply


def redirects(where: str) -> Reply:
    def reply(handler: BaseHTTPRequestHandler, _asked: bytes) -> None:
        handler.send_response(302)
        handler.send_header("Location", where)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return reply


@contextmanager
def serving() -> Iterator[FakeServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            key = f"{self.command} {self.path}"
            server.asked.append((key, body))
            server.replies.get(key, says('{"detail":"Not Found"}', 404))(self, body)

        do_GET = do_POST = do_HEAD = answer  # noqa: N815 - http.server's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = False
    server = FakeServer(f"http://127.0.0.1:{listener.server_port}", threading.Event())
    thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        listener.shutdown()
        listener.server_close()
        thread.join()


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
