# SPDX-License-Identifier: Apache-2.0
"""Whoever answers at another host's port: a question to it ends, and takes no core meanwhile."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.host.web.peer import Asker, Credentials, PeerError
from tests.given.certificates import self_signed

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
STEP_SECONDS = 0.4
WORD = b'{"services": {}}'

Say = Callable[[socket.socket], None]


def continues_for_ever(to: socket.socket) -> None:
    while True:
        to.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def sends_trailers_for_ever(to: socket.socket) -> None:
    to.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n")
    while True:
        to.sendall(b"X-A: b\r\n" * 100)


def dribbles_a_body(to: socket.socket) -> None:
    to.sendall(HEAD + b"Content-Length: 100000\r\n\r\n")
    while True:
        to.sendall(b" ")
        time.sleep(STEP_SECONDS / 4)


def dribbles_its_first_line(to: socket.socket) -> None:
    while True:
        to.sendall(b"H")
        time.sleep(STEP_SECONDS / 4)


def dribbles_chunks(to: socket.socket) -> None:
    to.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    while True:
        to.sendall(b"0001\r\n \r\n")
        time.sleep(STEP_SECONDS / 4)


def answers(to: socket.socket) -> None:
    to.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(WORD) + WORD)


HOSTILE = (
    *(continues_for_ever, sends_trailers_for_ever),
    *(dribbles_a_body, dribbles_its_first_line, dribbles_chunks),
)


@contextlib.contextmanager
def host(say: Say, tls: ssl.SSLContext | None) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener, say, tls), daemon=True)
        thread.start()
        scheme = "http" if tls is None else "https"
        yield f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"


def serve(listener: socket.socket, say: Say, tls: ssl.SSLContext | None) -> None:
    with contextlib.suppress(OSError):
        connection, _ = listener.accept()
        encrypted = connection if tls is None else tls.wrap_socket(connection, server_side=True)
        with encrypted:
            encrypted.recv(4096)
            say(encrypted)


@pytest.mark.parametrize("say", HOSTILE, ids=lambda say: say.__name__)
def test_a_host_that_never_comes_to_an_end_is_one_that_does_not_answer(say: Say) -> None:
    with host(say, None) as address, pytest.raises(PeerError, match="no answer in time"):
        Asker(Credentials()).cluster(address, STEP_SECONDS)


def test_so_is_one_behind_tls_and_a_sound_one_is_heard(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "peer")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    asker = Asker(Credentials(ca_file=certificate))
    for say in (continues_for_ever, dribbles_a_body):
        with host(say, tls) as address, pytest.raises(PeerError, match="no answer in time"):
            asker.cluster(address, STEP_SECONDS)
    with host(answers, tls) as address:
        assert asker.cluster(address, 10.0) == {"services": {}}
    with host(answers, None) as address:
        assert asker.cluster(address, 10.0) == {"services": {}}
