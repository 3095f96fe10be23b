# SPDX-License-Identifier: Apache-2.0
"""Asks another host's agent for its status, over the exporter's own HTTP.

Whoever answers there is a stranger until shown otherwise: the answer is bounded in bytes, no
redirect is followed, so that a password goes to the host that was named, and TLS is verified.
"""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPSHandler, ProxyHandler, Request

from agent.core.plain import plain, plain_values
from agent.errors import AgentError, UsageError
from agent.host.web.opener import opener_without_redirects

LONGEST_ANSWER = 4 << 20
"""Bytes; a status of eight GPUs and three services has 60 KiB."""

LONGEST_WORD = 256 << 10
"""Bytes; what a host says of its rank of one service has about 2 KiB."""

LONGEST_PASSWORD = 4096
LONGEST_SENTENCE = 200
NO_AGENT = "answers, but not as llmagent does"


class PeerError(AgentError):
    """Tells why a host's status is not known, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The user and password of the other agents' web_config_file, "" for none."""

    user: str = ""
    password: str = ""
    ca_file: Path | None = None
    """Certificates to trust besides the system's, for agents whose certificate nobody signed."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The header that proves them, none where there is no user."""
        if not self.user:
            return {}
        pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"Authorization": f"Basic {pair}"}


def credentials_of(user: str, password_file: str | None, ca_file: str | None) -> Credentials:
    """Return what agent.toml says of it. Raises AgentError where the password cannot be read."""
    password = ""
    if password_file is not None:
        try:
            with Path(password_file).open() as file:
                password = file.read(LONGEST_PASSWORD).rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise AgentError(f"{password_file} cannot be read: {error}") from error
    return Credentials(user, password, None if ca_file is None else Path(ca_file))


class Asker:
    """Asks any number of hosts, from any thread. Raises UsageError where ca_file is none."""

    def __init__(self, credentials: Credentials) -> None:
        self._headers = credentials.headers
        try:
            context = ssl.create_default_context()
            if credentials.ca_file is not None:
                context.load_verify_locations(credentials.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(
                f"{credentials.ca_file}: no certificates can be read: {error}"
            ) from error
        # Hosts of one's own are not asked through a proxy.
        self._opener = opener_without_redirects(ProxyHandler({}), HTTPSHandler(context=context))

    def status(self, address: str, seconds: float) -> dict[str, Any]:
        """Return the status.json of the agent at an http:// or https:// address.

        `seconds` bounds each step of the call, not the whole. Raises PeerError.
        """
        document = self._document(f"{address}/status.json", seconds, LONGEST_ANSWER)
        document.pop("needs", None)  # of the page alone; who shows a status finds them itself
        return document

    def cluster(self, address: str, seconds: float) -> dict[str, Any]:
        """Return the /cluster.json of the agent there, as `status` does its status."""
        return self._document(f"{address}/cluster.json", seconds, LONGEST_WORD)

    def _document(self, url: str, seconds: float, most: int) -> dict[str, Any]:
        asked = Request(url, headers=dict(self._headers))  # noqa: S310
        try:
            with self._opener.open(asked, timeout=seconds) as answer:
                body = answer.read(most + 1)
        except HTTPError as error:
            raise PeerError(_of_status(error.code)) from error
        except URLError as error:
            raise PeerError(_words(error.reason)) from error
        except (OSError, HTTPException, ValueError) as error:
            raise PeerError(_words(error)) from error
        if len(body) > most:
            raise PeerError("answers with more than a status has")
        try:
            document = plain_values(json.loads(body))
        except (ValueError, RecursionError) as error:
            raise PeerError(NO_AGENT) from error
        if not isinstance(document, dict) or not isinstance(document.get("services"), dict):
            raise PeerError(NO_AGENT)
        return document


def _of_status(status: int) -> str:
    match status:
        case 401 | 403:
            return "refuses the user or the password: see user and password_file"
        case 404:
            return "has no status page: [metrics] page is off there, or it is an older llmagent"
        case _:
            return f"answers with HTTP status {status}"


def _words(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}): see ca_file"
    text = str(getattr(error, "strerror", None) or error) or type(error).__name__
    return plain(text, LONGEST_SENTENCE)
