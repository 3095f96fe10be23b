# SPDX-License-Identifier: Apache-2.0
"""What a stranger on the engine's port may answer: a corpus of whole answers, most without end."""

from __future__ import annotations

import gzip
import itertools
import json
import socket
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache

OK = b"HTTP/1.1 200 OK\r\n"
BLOCK = 65536

Answer = Callable[[], Iterable[bytes]]


def _for_ever(start: bytes, piece: bytes) -> Answer:
    block = piece * max(1, BLOCK // len(piece))
    return lambda: itertools.chain((start,), itertools.repeat(block))


def _whole(body: bytes, *headers: bytes) -> Answer:
    head = b"".join(b"%s\r\n" % line for line in headers)
    return lambda: (OK + head + b"Content-Length: %d\r\n\r\n" % len(body), body)


@cache
def _packed(times: int) -> bytes:
    """Return 200 MiB of zeros, packed so many times: the second time makes 2 KB of 200 KB."""
    return gzip.compress(bytes(200 << 20), 1) if times == 1 else gzip.compress(_packed(times - 1))


def _json(document: object) -> Answer:
    return _whole(json.dumps(document).encode(), b"Content-Type: application/json")


def _models(length: object, name: object = "m") -> object:
    return {"data": [{"id": name, "root": name, "max_model_len": length}]}


def _chunks(size: bytes) -> Answer:
    return _for_ever(OK + b"Transfer-Encoding: chunked\r\n\r\n", size)


_FORGED = (
    b"vllm:num_requests_running 0\nvllm:gpu_prefix_cache_hits_total 1\n"
    b"vllm:request_success_total 1e18\n"
)


@cache
def corpus() -> Mapping[str, Answer]:
    """Return the answers by what they are; each call of one gives its bytes anew."""
    twice = _packed(2)
    deep = b"[" * 900_000
    return {
        "packed twice": _whole(twice, b"Content-Encoding: gzip, gzip"),
        "packed once": _whole(_packed(1), b"Content-Encoding: gzip"),
        "deflated": _whole(zlib.compress(bytes(200 << 20), 1), b"Content-Encoding: deflate"),
        "packed in small letters": _whole(twice, b"content-encoding: x-gzip,gzip"),
        "packed by many": _whole(twice, b"Content-Encoding: " + b"gzip, " * 500 + b"gzip"),
        "packed in a refusal": lambda: (
            b"HTTP/1.1 401 No\r\nContent-Encoding: gzip, gzip\r\n"
            b"Content-Length: %d\r\n\r\n" % len(twice),
            twice,
        ),
        "a chunk's size without end": _chunks(b"0"),
        "a chunk's extension without end": _chunks(b"1;a=b"),
        "chunks of one byte": _chunks(b"1\r\nv\r\n"),
        "a chunk of all there is": _chunks(b"FFFFFFFFFFFFFFFF\r\n"),
        "a negative chunk": _chunks(b"-1\r\n"),
        "trailers without end": _for_ever(
            OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"
        ),
        "a body without end": _for_ever(OK + b"\r\n", b"v"),
        "lines without end": _for_ever(OK + b"\r\n", b'vllm:num_requests_running{a="b"} 1\n'),
        "a length of all there is": _for_ever(
            OK + b"Content-Length: 99999999999999999999\r\n\r\n", b"v"
        ),
        "headers without end": _for_ever(OK, b"X-Header: " + b"y" * 60000 + b"\r\n"),
        "a header without end": _for_ever(OK + b"X: ", b"y"),
        "a status without end": _for_ever(b"HTTP/1.1 200 ", b"O"),
        "no HTTP without end": _for_ever(b"", b"\x00"),
        "continues without end": _for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        "cookies": _whole(b"{}", *(b"Set-Cookie: c%d=%s" % (n, b"x" * 900) for n in range(90))),
        "a deep document": _whole(deep, b"Content-Type: application/json"),
        "a document of empty tables": _whole(b"[" + b"{}," * 340_000 + b"{}]"),
        "a document of models": _whole(b'{"data":[' + b"{}," * 340_000 + b"{}]}"),
        "a number of a million digits": _whole(
            b'{"data":[{"max_model_len":' + b"9" * 10**6 + b"}]}"
        ),
        "a length of 10^18": _json(_models(10**18)),
        "a length of 10^18 as a float": _json(_models(1e18)),
        "a negative length": _json(_models(-5)),
        "a name of a megabyte": _json(_models(2048, "n" * 900_000)),
        "a name that is none": _json(_models(2048, {"a": [1] * 1000})),
        "a block of 10^9": _whole(_FORGED + b'vllm:cache_config_info{block_size="1000000000"} 1\n'),
        "a block of 10^400": _whole(
            _FORGED + b'vllm:cache_config_info{block_size="' + b"1" * 5000 + b'"} 1\n'
        ),
        "a label without end": _whole(
            _FORGED + b"vllm:cache_config_info{" + b"a" * (7 << 20) + b"}"
        ),
        "a redirect to itself": lambda: (
            b"HTTP/1.1 302 Found\r\nLocation: /metrics\r\nContent-Length: 0\r\n\r\n",
        ),
        "nothing at all": lambda: (),
    }


@contextmanager
def answering(answers: Mapping[str, Answer]) -> Iterator[str]:
    """Serve `answers` by the path `/`NAME; whatever is asked below it gets the same answer.

    A completion is answered as vLLM does, so that a forged size comes to its effect. Yields the
    address without a path.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener, answers), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def _accept(listener: socket.socket, answers: Mapping[str, Answer]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_answer, args=(connection, answers), daemon=True).start()


_COMPLETION = {
    "choices": [{"text": " a", "finish_reason": "length"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1},
}


def _answer(connection: socket.socket, answers: Mapping[str, Answer]) -> None:
    with connection:
        connection.settimeout(20.0)
        try:
            head = b""
            while b"\r\n\r\n" not in head:
                received = connection.recv(BLOCK)
                if not received:
                    return
                head += received
            number, _, path = head.split(b" ", 2)[1].decode().lstrip("/").partition("/")
            if "/completions" in path and int(number) % 2:
                pieces: Iterable[bytes] = _json(_COMPLETION)()
            else:
                pieces = list(answers.values())[int(number) // 2]()
            for piece in pieces:
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(BLOCK):
                pass
        except OSError:
            return
