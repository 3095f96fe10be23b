# SPDX-License-Identifier: Apache-2.0
"""Who asks without end, or reads nothing, takes no scrape's place; what many ask is made once."""

from __future__ import annotations

import contextlib
import socket
import threading
from http import HTTPStatus

import pytest

from agent.daemon.exporter.http_server import HttpServer, Request, Response
from agent.daemon.exporter.listening import ConnectionLimits
from agent.daemon.exporter.once import Once

ASKED = b"GET / HTTP/1.1\r\n\r\n"
PLACES = 3
FOR_EVER = ConnectionLimits(connections=PLACES, request=3600.0, idle=3600.0)


class StoppedError(Exception):
    """Making an answer failed."""


def served(body: bytes) -> HttpServer:
    def answer(_request: Request) -> Response:
        return Response(HTTPStatus.OK, "text/plain", body)

    server = HttpServer("127.0.0.1", 0, answer, lambda: None, FOR_EVER)
    server.start()
    return server


class Crowd(threading.Thread):
    """One client that asks again and again, and connects anew when it is hung up on."""

    def __init__(self, port: int, over: threading.Event, *, reads: bool) -> None:
        super().__init__(daemon=True)
        self._port, self._over, self._reads = port, over, reads

    def run(self) -> None:
        while not self._over.is_set():
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self._port), timeout=20) as client,
            ):
                client.sendall(ASKED * 200)
                while self._reads and client.recv(1 << 16):
                    pass
                self._over.wait(None if self._reads else 0.2)


@pytest.mark.parametrize("reads", [True, False])
def test_every_scrape_is_answered_beside_clients_that_ask_without_end(*, reads: bool) -> None:
    over = threading.Event()
    server = served(b"x" * (1 << 17))
    crowd = [Crowd(server.port, over, reads=reads) for _ in range(4 * PLACES)]
    try:
        for client in crowd:
            client.start()
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", server.port), timeout=60) as scraper:
                scraper.sendall(b"GET / HTTP/1.0\r\n\r\n")
                assert scraper.recv(4096).startswith(b"HTTP/1.1 200 OK")
    finally:
        over.set()
        server.close()
        for client in crowd:
            client.join(20)


def test_where_others_wait_a_connection_ends_with_its_answer() -> None:
    server = served(b"ok")
    with contextlib.ExitStack() as stack:
        stack.callback(server.close)
        kept = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=20))
        kept.sendall(ASKED)
        assert b"Connection: close" not in kept.recv(4096)
        for _ in range(PLACES + 1):
            other = socket.create_connection(("127.0.0.1", server.port), timeout=20)
            stack.enter_context(other).sendall(ASKED)
            said = other.recv(4096)
        assert b"Connection: close" in said


def test_what_many_ask_for_at_once_is_made_once() -> None:
    once, begun, go = Once(), threading.Event(), threading.Event()
    calls: list[int] = []
    got: list[bytes] = []

    def make() -> bytes:
        calls.append(1)
        begun.set()
        assert go.wait(20)
        return b"made"

    threads = [
        threading.Thread(target=lambda: got.append(once.get("metrics", make))) for _ in range(8)
    ]
    threads[0].start()
    assert begun.wait(20)
    for thread in threads[1:]:
        thread.start()
    assert once.get("another", lambda: b"other") == b"other"
    go.set()
    for thread in threads:
        thread.join(20)
    assert got == [b"made"] * 8
    assert len(calls) < 8
    assert once.get("metrics", lambda: b"anew") == b"anew"


def test_who_waited_for_one_that_failed_makes_it_himself() -> None:
    once, begun, go = Once(), threading.Event(), threading.Event()
    failed: list[str] = []

    def fails() -> bytes:
        begun.set()
        assert go.wait(20)
        raise StoppedError("no snapshot")

    def first() -> None:
        with pytest.raises(StoppedError):
            once.get("metrics", fails)
        failed.append("as it should")

    thread = threading.Thread(target=first)
    thread.start()
    assert begun.wait(20)
    got: list[bytes] = []
    other = threading.Thread(target=lambda: got.append(once.get("metrics", lambda: b"mine")))
    other.start()
    go.set()
    thread.join(20)
    other.join(20)
    assert (failed, got) == (["as it should"], [b"mine"])
