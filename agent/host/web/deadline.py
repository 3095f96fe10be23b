# SPDX-License-Identifier: Apache-2.0
"""Handlers of urllib whose whole answer has a deadline, whatever a server sends meanwhile.

The timeout of urllib holds for each receive, so that a server which sends a byte now and then keeps
its caller for ever; and http.client (3.11..3.13) reads `100 Continue` and the trailers of a chunked
answer for as long as more of them come.
"""

from __future__ import annotations

import math
import socket
import ssl
import time
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.request import HTTPHandler, HTTPSHandler, Request

STEPS = 3.0
"""A whole answer may take so many times what is allowed for one receive."""


class _Until:
    """A socket of which every receive ends with the deadline of the whole answer."""

    until = math.inf

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:
        if time.monotonic() >= self.until:
            raise TimeoutError("the answer did not end in time")
        return int(super().recv_into(buffer, nbytes or 0, flags))  # type: ignore[misc]


class _Plain(_Until, socket.socket):
    """One without TLS."""


class _Encrypted(_Until, ssl.SSLSocket):
    """One with TLS."""


class _PlainConnection(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        made = self.sock
        left = made.gettimeout()
        self.sock = _Plain(made.family, made.type, made.proto, made.detach())
        self.sock.settimeout(left)
        self.sock.until = _until(left)


class _EncryptedConnection(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        assert isinstance(self.sock, _Encrypted)
        self.sock.until = _until(self.sock.gettimeout())


class PlainInTime(HTTPHandler):
    """Opens http:// addresses."""

    def http_open(self, req: Request) -> HTTPResponse:
        """Return the answer, whose body is read within the same deadline."""
        return self.do_open(_PlainConnection, req)


class EncryptedInTime(HTTPSHandler):
    """Opens https:// addresses, trusting what the context trusts."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        context.sslsocket_class = _Encrypted
        self._trust = context

    def https_open(self, req: Request) -> HTTPResponse:
        """Return the answer, whose body is read within the same deadline."""
        return self.do_open(_EncryptedConnection, req, context=self._trust)


def _until(step_seconds: float | None) -> float:
    return math.inf if step_seconds is None else time.monotonic() + STEPS * step_seconds
