# SPDX-License-Identifier: Apache-2.0
"""What the hub's answer about a model means, asked of a real HTTP server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agent.core.doctor.model import Access
from agent.host.probes.model import access

asked: list[tuple[str, str | None]] = []


class Hub(BaseHTTPRequestHandler):
    """Answers with the status that the model's name asks for: `o/404`, `o/401-GatedRepo`."""

    def do_HEAD(self) -> None:
        asked.append((self.path, self.headers.get("Authorization")))
        status, _, code = self.path.split("/")[2].partition("-")
        self.send_response(int(status))
        if code:
            self.send_header("X-Error-Code", code)
        if status == "302":
            self.send_header("Location", "/o/200/resolve/main/config.json")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("answer", "meant"),
    [
        ("200", Access.GRANTED),
        ("401", Access.REFUSED),
        ("401-GatedRepo", Access.GATED),
        ("401-RepoNotFound", Access.MISSING),
        ("403", Access.GATED),
        ("404-RevisionNotFound", Access.MISSING),
        ("503", Access.UNREACHABLE),
    ],
)
def test_the_hubs_status_and_code_say_whether_the_model_can_be_had(
    hub: str, answer: str, meant: Access
) -> None:
    assert access(f"o/{answer}", None, None, hub) is meant


def test_a_redirect_is_a_yes_and_the_token_is_not_carried_on(hub: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("hf_abc\n")
    assert access("o/302", "v1", str(token), hub) is Access.GRANTED
    assert asked == [("/o/302/resolve/v1/config.json", "Bearer hf_abc")]


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "file:///etc", "no address"])
def test_a_hub_that_cannot_be_asked_is_unreachable(endpoint: str) -> None:
    assert access("o/m", None, None, endpoint) is Access.UNREACHABLE
