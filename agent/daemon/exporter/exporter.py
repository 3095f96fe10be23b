# SPDX-License-Identifier: Apache-2.0
"""Serves the agent's metrics on [metrics] listen, as plain HTTP or as its web config file says."""

from __future__ import annotations

import gzip
import ssl
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder, gzip_accepted

from agent.core.settings.config import Metrics
from agent.core.view.snapshot import Snapshot
from agent.daemon.exporter.http_server import HttpServer, Request, Response, plain
from agent.daemon.exporter.once import Once
from agent.daemon.exporter.page import Page
from agent.daemon.log import log
from agent.daemon.metrics.collector import SnapshotCollector
from agent.host.web.access import WebAccess
from agent.host.web.passwords import BusyError

if TYPE_CHECKING:
    from agent.daemon.exporter.cluster import ClusterWord

_GZIP_LEVEL = 1
_LANDING = b"""\
<!DOCTYPE html>
<html lang="en"><head><title>llmagent</title></head>
<body><h1>llmagent</h1><p><a href="metrics">Metrics</a></p></body></html>
"""
"""What is at / where [metrics] page is off."""

_MISDIRECTED = Response(
    HTTPStatus.MISDIRECTED_REQUEST,
    "text/plain; charset=utf-8",
    b"This page is for this host only: ask for it as localhost, or give it passwords with"
    b" [metrics] web_config_file.\n",
)
"""For a browser that a stranger's web site sends here under a name of its own (DNS rebinding)."""


class Exporter:
    """Renders the latest snapshot for each scrape; a scrape asks nobody else anything."""

    def __init__(
        self, snapshot: Callable[[], Snapshot], metrics: Metrics, page: Page | None = None
    ) -> None:
        """Listen at once; `page` is served beside the metrics unless [metrics] page is off.

        Raises AgentError when the address cannot be had, ConfigError when the web config file or
        one of its files is wrong.
        """
        self._snapshot = snapshot
        self._cluster: ClusterWord | None = None
        self._once = Once()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(SnapshotCollector(snapshot))
        ProcessCollector(registry=self._registry)
        self._page = page if metrics.page else None
        self._is_loopback = metrics.address in ("localhost", "::1") or metrics.address[:4] == "127."
        self._access = None
        if metrics.web_config_file:
            self._access = WebAccess(Path(metrics.web_config_file), report=log.error)
        self._server = HttpServer(metrics.address, metrics.port, self._answer, self._tls)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._server.port

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()

    def close(self) -> None:
        """Stop; whoever is being answered is cut off."""
        self._server.close()

    def _tls(self) -> ssl.SSLContext | None:
        return None if self._access is None else self._access.tls()

    def _answer(self, request: Request) -> Response:
        if self._access is None:
            return self._content(request)
        try:
            admitted = self._access.admits(request.headers.get("authorization", ""), request.peer)
        except BusyError:
            response = plain(HTTPStatus.TOO_MANY_REQUESTS, ("Retry-After", "1"))
        else:
            refusal = plain(HTTPStatus.UNAUTHORIZED, ("WWW-Authenticate", "Basic"))
            response = self._content(request) if admitted else refusal
        return _with(response, self._access.headers())

    def _content(self, request: Request) -> Response:
        if self._page is not None and (response := self._page.answer(request)) is not None:
            if self._is_loopback and self._access is None and not names_this_host(request):
                return _MISDIRECTED
            return response
        match request.path:
            case "/metrics":
                return self._metrics(request)
            case "/cluster.json":
                return Response(HTTPStatus.OK, "application/json", self._word())
            case "/":
                return Response(HTTPStatus.OK, "text/html; charset=utf-8", _LANDING)
            case _:
                return plain(HTTPStatus.NOT_FOUND)

    def _word(self) -> bytes:
        """Return /cluster.json, made once for all hosts that ask at the same time."""
        from agent.daemon.exporter.cluster import ClusterWord  # for who has peers: memory

        if self._cluster is None:
            self._cluster = ClusterWord(self._snapshot)
        return self._cluster.document()

    def _metrics(self, request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        packs = gzip_accepted(request.headers.get("accept-encoding", ""))

        def made() -> bytes:
            body = encode(self._registry)
            return gzip.compress(body, _GZIP_LEVEL) if packs else body

        headers = (("Content-Encoding", "gzip"),) if packs else ()
        body = self._once.get((content_type, packs), made)
        return Response(HTTPStatus.OK, content_type, body, headers)


def _with(response: Response, headers: tuple[tuple[str, str], ...]) -> Response:
    """Return the answer with the headers of the web config file, which win over our own."""
    theirs = {name.lower() for name, _ in headers}
    ours = tuple(header for header in response.headers if header[0].lower() not in theirs)
    return Response(response.status, response.content_type, response.body, ours + headers)


def names_this_host(request: Request) -> bool:
    """Tell whether the request's Host is an address, or a name that no stranger can own.

    Those have no dot: localhost, and what /etc/hosts or a local search domain makes of a host.
    """
    host = request.headers.get("host", "").lower()
    name, _, port = host.rpartition(":")
    name = (name if port.isdecimal() else host).removesuffix(".localhost")
    return name.startswith("[") or "." not in name or name.replace(".", "").isdecimal()
