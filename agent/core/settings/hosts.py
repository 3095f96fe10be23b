# SPDX-License-Identifier: Apache-2.0
"""How another host's agent is named, in agent.toml and on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from agent.core.settings.config import Metrics
from agent.errors import UsageError

MOST_HOSTS = 100
"""More than that is Prometheus' trade."""

PORT = Metrics().port


@dataclass(frozen=True, slots=True)
class Host:
    """A host as it was named, and where its agent is asked."""

    name: str
    address: str


def host_of(name: str) -> Host:
    """Return where a host that was named is asked: HOST, HOST:PORT, or an address.

    Raises UsageError for what is none; no password is repeated.
    """
    try:
        parts = urlsplit(name if "://" in name else f"http://{name}")
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{name.rpartition('@')[2]!r} is no host: {error}") from error
    if parts.username is not None:
        raise UsageError(
            f"the address of {parts.hostname} holds no password, as it is seen by others: give the"
            " user and a file with the password"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or set(name) & set(" ?#"):
        raise UsageError(f"{name!r} is no host: write HOST, HOST:PORT or https://HOST:PORT")
    bracketed = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    path = parts.path.rstrip("/")
    where = f"{bracketed}:{PORT if port is None else port}"
    return Host(name, f"{parts.scheme}://{where}{path}")
