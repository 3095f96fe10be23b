# SPDX-License-Identifier: Apache-2.0
"""Small real HTTP servers whose answers a test writes down, dribbling, keys and TLS included."""

from __future__ import annotations

import json
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

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


METRICS = b'vllm:num_requests_running{engine="0"} 2.0\n'


@dataclass
class Seen:
    """What came in: path and Authorization header of each request."""

    port: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list)


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@contextmanager
def locked(
    *,
    certificate: tuple[Path, Path] | None = None,
    clients: Path | None = None,
    uds: Path | None = None,
    key: str = "",
) -> Iterator[Seen]:
    """Serves /health, /metrics, /v1/models and /v1/completions as vLLM does with a key.

    `clients` holds the certificates of those who may ask, as --ssl-ca-certs has them with
    --ssl-cert-reqs 2.
    """
    seen = Seen()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            given = self.headers.get("Authorization", "")
            seen.requests.append((self.path, given))
            if self.path.startswith("/v1") and key and given != f"Bearer {key}":
                self.say(401, b'{"error": "Unauthorized"}')
                return
            answers = {
                "/health": b"",
                "/metrics": METRICS,
                "/v1/models": b'{"data": [{"id": "m"}]}',
                "/v1/completions": json.dumps(
                    {"choices": [{"text": "a"}], "usage": {"completion_tokens": 1}}
                ).encode(),
            }
            known = self.path in answers
            self.say(200 if known else 404, answers.get(self.path, b'{"detail": "Not Found"}'))

        do_GET = do_POST = answer  # noqa: N815 - http.server's names

        def say(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self) -> str:
            return "a client"

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server: socketserver.BaseServer
    if uds is not None:
        server = UnixServer(str(uds), Handler)
    else:
        listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        seen.port = listener.server_port
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            if clients is not None:
                context.load_verify_locations(clients)
                context.verify_mode = ssl.CERT_REQUIRED
            listener.socket = context.wrap_socket(listener.socket, server_side=True)
        server = listener
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
