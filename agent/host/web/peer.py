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
from http.client import HTTPException, IncompleteRead, RemoteDisconnected
from math import isfinite
from pathlib import Path
from socket import gaierror
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request

from agent.core.plain import plain, plain_values
from agent.core.record import dataclass
from agent.errors import AgentError, UsageError
from agent.host.files.own import read_own
from agent.host.web.deadline import EncryptedInTime, PlainInTime
from agent.host.web.opener import opener_without_redirects

LONGEST_ANSWER = 2 << 20
"""Bytes; a status of eight GPUs and three services has 60 KiB."""

MOST_VALUES = 50_000
"""Commas and opening brackets in an answer; such a status has about 3,000.

A megabyte of `[],[],` would take 50 MB and a second to read, and a hundred hosts are asked at once.
"""

LONGEST_WORD = 256 << 10
"""Bytes; what a host says of its rank of one service has about 2 KiB."""

LONGEST_PASSWORD = 4096
LONGEST_SENTENCE = 200
NO_AGENT = "answers, but not as llmagent does"
TOO_MUCH = "answers with more than a status has"
NO_CLUSTER = "knows nothing of groups of hosts: is that llmagent's port, and as new as this one?"
NOT_FOUND = 404
HUNG_UP = "closes the connection before it has answered"
MAY_SPEAK_TLS = f"{HUNG_UP}: if it speaks TLS, name it with https://"
NO_HANDSHAKE = "no TLS handshake in time: if it speaks none, name it without https://"
NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNEXPECTED_MESSAGE", "RECORD_LAYER_FAILURE")
"""OpenSSL's names for what it makes of an answer in plain HTTP, by its releases 3.0 to 3.5."""


class PeerError(AgentError):
    """Tells why a host's status is not known, as the end of a sentence."""


class NoSuchPageError(PeerError):
    """The host answers, and has nothing at that path."""


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
    """Return what agent.toml says of it. Raises AgentError where there is no password."""
    password = ""
    if password_file is not None:
        try:
            password = read_own(password_file, LONGEST_PASSWORD).decode().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise AgentError(f"{password_file} cannot be read: {error}") from error
        if not password:
            raise AgentError(f"{password_file} holds no password")
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
        self._opener = opener_without_redirects(
            ProxyHandler({}), PlainInTime(), EncryptedInTime(context)
        )

    def status(self, address: str, seconds: float) -> bytes:
        """Return what the agent at an http:// or https:// address answers: `read_status` reads it.

        `seconds` bounds each step of the call, three times as much the whole. Raises PeerError.
        """
        return self._answer(f"{address}/status.json", seconds, LONGEST_ANSWER)

    def cluster(self, address: str, seconds: float) -> dict[str, Any]:
        """Return the /cluster.json of the agent there, within the bounds of `status`."""
        try:
            answer = self._answer(f"{address}/cluster.json", seconds, LONGEST_WORD)
        except NoSuchPageError as error:
            raise PeerError(NO_CLUSTER) from error
        return _document(answer)

    def _answer(self, url: str, seconds: float, most: int) -> bytes:
        asked = Request(url, headers=dict(self._headers))  # noqa: S310
        try:
            with self._opener.open(asked, timeout=seconds) as answer:
                body = answer.read(most + 1)
        except HTTPError as error:
            kind = NoSuchPageError if error.code == NOT_FOUND else PeerError
            raise kind(_of_status(error.code, proven="Authorization" in self._headers)) from error
        except URLError as error:
            raise PeerError(_words(error.reason, url)) from error
        except (OSError, HTTPException, ValueError) as error:
            raise PeerError(_words(error, url)) from error
        if len(body) > most:
            raise PeerError(TOO_MUCH)
        if answer.length:
            raise PeerError(HUNG_UP)
        return bytes(body)


def read_status(answer: bytes) -> dict[str, Any]:
    """Return the status.json of an answer. Raises PeerError where it is none."""
    document = _document(answer)
    document.pop("needs", None)  # of the page alone; who shows a status finds them itself
    return document


def _document(answer: bytes) -> dict[str, Any]:
    if answer.count(b",") + answer.count(b"[") + answer.count(b"{") > MOST_VALUES:
        raise PeerError(TOO_MUCH)
    try:
        document = plain_values(
            json.loads(answer, parse_float=_finite, parse_constant=_refuse_constant)
        )
    except (ValueError, RecursionError) as error:
        raise PeerError(NO_AGENT) from error
    if not isinstance(document, dict) or not isinstance(document.get("services"), dict):
        raise PeerError(NO_AGENT)
    return document


def _finite(digits: str) -> float:
    """Read a number; 1e999 is none, and would be printed as one that no JSON has."""
    number = float(digits)
    if not isfinite(number):
        raise ValueError(digits)
    return number


def _refuse_constant(name: str) -> float:
    """Refuse NaN and Infinity, which Python reads, and JSON does not have."""
    raise ValueError(name)


def _of_status(status: int, *, proven: bool) -> str:
    if 300 <= status < 400:
        return (
            f"sends elsewhere (HTTP status {status}), which is not followed: name it as it is,"
            " perhaps with https://"
        )
    match status:
        case 401 | 403 if proven:
            return "refuses the user or the password: see user and password_file"
        case 401 | 403:
            return "wants a user and a password: see user and password_file"
        case _ if status == NOT_FOUND:
            return "has no status page: [metrics] page is off there, or it is an older llmagent"
        case _:
            return f"answers with HTTP status {status}"


def _words(error: object, url: str) -> str:
    match error:
        case TimeoutError() if "handshake" in str(error):
            return NO_HANDSHAKE
        case TimeoutError():
            return "no answer in time"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted ({error.verify_message}): see ca_file"
        case ssl.SSLError() if error.reason in NO_TLS:
            return "does not speak TLS: name it without https://"
        case gaierror():
            return f"its name is not found: {error.strerror}"
        case IncompleteRead():
            return HUNG_UP
        case RemoteDisconnected() | ConnectionResetError():
            return MAY_SPEAK_TLS if url.startswith("http:") else HUNG_UP
        case HTTPException():
            return "does not answer in HTTP: is that llmagent's port, and http:// right?"
    text = str(getattr(error, "strerror", None) or error) or type(error).__name__
    return plain(text, LONGEST_SENTENCE)
