# SPDX-License-Identifier: Apache-2.0
"""Servers that take messages for real: HTTP as ntfy, webhooks and heartbeats ask it, and mail."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller


@dataclass
class HttpSink:
    """Notes what is asked of it; `slow_seconds` of silence before each answer, then `status`."""

    slow_seconds: float = 0.0
    status: int = 200
    port: int = 0
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path with query, and body."""


@contextlib.contextmanager
def http_sink(slow_seconds: float = 0.0, status: int = 200) -> Iterator[HttpSink]:
    """Serves on a port of this host until it is left."""
    sink = HttpSink(slow_seconds, status)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            sink.asked.append((self.command, self.path, self.rfile.read(length).decode()))
            time.sleep(sink.slow_seconds)
            with contextlib.suppress(OSError):
                self.send_response(sink.status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

        do_GET = do_POST  # noqa: N815 - http.server's name

        def log_message(self, *_: object) -> None:
            """Say nothing on stderr."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        sink.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield sink
        server.shutdown()


@dataclass
class MailSink:
    """A mail server that keeps what it gets."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, _server: Any, _session: Any, envelope: Any
    ) -> str:
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 taken"


@contextlib.contextmanager
def mail_sink() -> Iterator[MailSink]:
    """Takes mail on a port of this host until it is left."""
    sink = MailSink(free_port())
    controller = Controller(sink, hostname="127.0.0.1", port=sink.port)
    controller.start()
    try:
        yield sink
    finally:
        controller.stop()


def free_port() -> int:
    """Returns a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
