# SPDX-License-Identifier: Apache-2.0
"""The status page and what it asks for: files as they are shipped, and JSON documents.

| path | is |
|---|---|
| / page.css page.js icon.svg | the page; nothing in it comes from another host |
| /manual/NAME.SECTION.html | the manual, for who reads of an alert on a telephone |
| /status.json | what status.json has, and `needs`: what needs a person, worst first |
| /past.json?since=SECONDS | the last hours, see `agent.core.past`; `since` in Unix time |
| /events.json?before=ID, ?after=ID | a part of the history, oldest first, see `document_of` |
| /fleet.json | the hosts of [fleet], what needs a person first, see `agent.cli.fleet.__main__` |
"""

from __future__ import annotations

import gzip
import json
import math
import re
import threading
import zlib
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from agent.core.codec import encode
from agent.core.plain import plain_values
from agent.core.view.needs import needs_a_person
from agent.core.view.snapshot import Snapshot, to_json
from agent.daemon.exporter.http_server import Request, Response, plain
from agent.errors import AgentError
from agent.packaged import packaged
from agent.places import MANUAL_DIRECTORY

FILES: Mapping[str, tuple[str, str]] = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/manual.css": ("manual.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_MANUAL = re.compile(r"/manual/([a-z-]{1,40}(?:\.[a-z]{1,10})?\.[1-8]\.html)")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Nothing from elsewhere, nothing inline, and no text can become markup (trusted types)."""

Headers = tuple[tuple[str, str], ...]
SAFE: Headers = (
    ("Content-Security-Policy", POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-cache"),
)
WAIT_SECONDS = 2.0
"""Documents of the past are made one at a time; who waits longer is asked to come again."""

GZIP_LEVEL = 1
NOBODY = b'{"format":1,"at_seconds":0,"summary":"","hosts":[]}'
"""/fleet.json of a host that knows of no other."""

LATEST = 1e12
"""Times and numbers in a question are below this."""


class BadQuestionError(AgentError):
    """Tells what is wrong with the part of the address behind the question mark."""


class Page:
    """Answers the page's requests; `answer` may be called from any thread."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        past: Callable[[float], Mapping[str, Any]],
        events: Callable[[int | None, int | None], Mapping[str, Any]],
        manual: Path = MANUAL_DIRECTORY,
        fleet: Callable[[], bytes] | None = None,
    ) -> None:
        """`past` is asked with a time since the epoch, `events` with `after` and `before`.

        `fleet` gives the document of other hosts; None where no other is named.
        """
        self._snapshot = snapshot
        self._past = past
        self._events = events
        self._manual_directory = manual
        self._fleet = fleet
        self._turn = threading.Lock()

    def answer(self, request: Request) -> Response | None:
        """Return the answer; None for a path that is not the page's."""
        if request.path in FILES:
            name, content_type = FILES[request.path]
            return self._packed(request, content_type, _file(name))
        if manual := _MANUAL.fullmatch(request.path):
            return self._manual(request, manual[1])
        try:
            match request.path:
                case "/status.json":
                    return self._json(request, status_document(self._snapshot()))
                case "/past.json":
                    since = _number(request, "since") or 0.0
                    return self._in_turn(request, lambda: self._past(since))
                case "/events.json":
                    after, before = _number(request, "after"), _number(request, "before")
                    return self._in_turn(request, lambda: self._events(_id(after), _id(before)))
                case "/fleet.json":
                    known = NOBODY if self._fleet is None else self._fleet()
                    return self._packed(request, "application/json", known)
        except BadQuestionError as error:
            return _sentence(HTTPStatus.BAD_REQUEST, error)
        except AgentError as error:
            return _sentence(HTTPStatus.SERVICE_UNAVAILABLE, error)
        return None

    def _manual(self, request: Request, name: str) -> Response:
        try:
            body = (self._manual_directory / name).read_bytes()
        except OSError:
            return plain(HTTPStatus.NOT_FOUND)
        return self._packed(request, "text/html; charset=utf-8", body)

    def _in_turn(self, request: Request, make: Callable[[], Mapping[str, Any]]) -> Response:
        if not self._turn.acquire(timeout=WAIT_SECONDS):
            return plain(HTTPStatus.SERVICE_UNAVAILABLE, ("Retry-After", "1"))
        try:
            return self._json(request, make())
        finally:
            self._turn.release()

    def _json(self, request: Request, document: Mapping[str, Any]) -> Response:
        body = json.dumps(document, separators=(",", ":")).encode()
        return self._packed(request, "application/json", body)

    @staticmethod
    def _packed(request: Request, content_type: str, body: bytes) -> Response:
        etag = f'"{zlib.crc32(body):08x}{len(body):x}"'
        headers: Headers = (*SAFE, ("ETag", etag), ("Vary", "Accept-Encoding"))
        if etag in request.headers.get("if-none-match", ""):
            return Response(HTTPStatus.NOT_MODIFIED, content_type, b"", headers)
        if accepts_gzip(request):
            body = gzip.compress(body, GZIP_LEVEL)
            headers = (*headers, ("Content-Encoding", "gzip"))
        return Response(HTTPStatus.OK, content_type, body, headers)


def status_document(snapshot: Snapshot) -> dict[str, Any]:
    """Return status.json with `needs`: [{"what", "to_do", "about"}], worst first."""
    document: dict[str, Any] = plain_values(to_json(snapshot))
    document["needs"] = [encode(need) for need in needs_a_person(document)]
    return document


def _sentence(status: HTTPStatus, error: AgentError) -> Response:
    return Response(status, "text/plain; charset=utf-8", f"{error}\n".encode())


def accepts_gzip(request: Request) -> bool:
    """Tell whether the client takes gzip: its words, without a refusal by `q=0`."""
    for word in request.headers.get("accept-encoding", "").split(","):
        coding, _, quality = word.strip().partition(";")
        if coding.strip() in ("gzip", "*"):
            return quality.replace(" ", "") not in ("q=0", "q=0.0")
    return False


def _file(name: str) -> bytes:
    """Return a file of the page: read each time, as nobody looks at it most of the time."""
    return packaged("page", name).read_bytes()


def _number(request: Request, name: str) -> float | None:
    """Return a number of the address's question; None where it is not there."""
    try:
        asked = parse_qs(request.query, max_num_fields=4).get(name)
        number = None if asked is None else float(asked[-1])
    except ValueError:
        raise BadQuestionError(f"{name}: must be a number") from None
    if number is not None and (not math.isfinite(number) or abs(number) > LATEST):
        raise BadQuestionError(f"{name}: must be a number below {LATEST:g}")
    return number


def _id(number: float | None) -> int | None:
    return None if number is None else int(number)
