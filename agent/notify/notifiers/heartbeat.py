# SPDX-License-Identifier: Apache-2.0
"""The dead-man's switch: an address that is asked for while all is well.

Two forms are known. Healthchecks.io, whose own or a compatible server
(https://healthchecks.io/docs/http_api/): URL, URL/start, URL/fail, the body a note. Uptime Kuma's
push monitors (https://github.com/louislam/uptime-kuma): URL/api/push/TOKEN?status=up&msg=...
"""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request

from agent.notify.notifiers.notifier import Note

SECONDS = 15.0
LONGEST_NOTE = 200


class Healthchecks:
    """A check of Healthchecks.io or of a server like it."""

    name = "dead-man's switch"

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    def send(self, note: Note) -> str:
        """Ask for the address, or for its /fail."""
        url = self._url if note.well else f"{self._url}/fail"
        return _ask(url, note.title.encode())


class UptimeKuma:
    """A push monitor of Uptime Kuma."""

    name = "dead-man's switch (Uptime Kuma)"

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, note: Note) -> str:
        """Ask for the address with the state and a note in its query."""
        parts = urllib.parse.urlsplit(self._url)
        query = {"status": "up" if note.well else "down", "msg": note.title[:LONGEST_NOTE]}
        url = parts._replace(query=urllib.parse.urlencode(query)).geturl()
        return _ask(url, None)


def heartbeat_of(text: str) -> Healthchecks | UptimeKuma:
    """Return who has the address in a file's text. Raises ValueError where there is none."""
    lines = [line.strip() for line in text.splitlines()]
    urls = [line for line in lines if line and not line.startswith("#")]
    if len(urls) != 1 or urllib.parse.urlsplit(urls[0]).scheme not in ("http", "https"):
        raise ValueError("dead_mans_switch_file must have one line: an http or https address")
    return UptimeKuma(urls[0]) if "/api/push/" in urls[0] else Healthchecks(urls[0])


def _ask(url: str, body: bytes | None) -> str:
    try:
        # http or https: `heartbeat_of` takes no other.
        with urllib.request.urlopen(url, body, timeout=SECONDS) as answer:  # noqa: S310
            answer.read(1024)
    except urllib.error.HTTPError as error:
        return f"refused it (HTTP {error.code})"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return f"could not be reached ({type(reason).__name__})"
    return ""
