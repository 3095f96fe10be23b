# SPDX-License-Identifier: Apache-2.0
"""How another host's agent is named, in agent.toml and on the command line."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from agent.core.record import dataclass
from agent.core.settings.config import Metrics
from agent.errors import UsageError

MOST_HOSTS = 100
"""More than that is Prometheus' trade."""

PORT = Metrics().port

BARE_IPV6 = re.compile(r"[0-9A-Fa-f.]*(?::[0-9A-Fa-f.]*){2,}(?:%[\w.-]+)?")
"""An address that stands without brackets, and so without a port."""

PLAIN_NAME = re.compile(r"[\w.-]+|[0-9a-f:.]+(?:%[\w.-]+)?")
"""A name, or an address of either kind: no list, no range and no other character."""


@dataclass(frozen=True, slots=True)
class Host:
    """A host as it was named, and where its agent is asked."""

    name: str
    address: str


def host_of(name: str) -> Host:
    """Return where a host that was named is asked: HOST, HOST:PORT, or an address.

    Raises UsageError for what is none; no password is repeated.
    """
    written = f"[{name}]" if BARE_IPV6.fullmatch(name) else name
    try:
        parts = urlsplit(written if "://" in written else f"http://{written}")
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{name.rpartition('@')[2]!r} is no host: {error}") from error
    if parts.username is not None:
        raise UsageError(
            f"the address of {parts.hostname} holds no password, as it is seen by others: give the"
            " user and a file with the password"
        )
    plain = PLAIN_NAME.fullmatch(parts.hostname or "")
    odd = not name.isprintable() or set(name) & set(" ?#")
    if parts.scheme not in ("http", "https") or not plain or odd:
        raise UsageError(f"{name!r} is no host: write HOST, HOST:PORT or https://HOST:PORT")
    bracketed = f"[{plain[0]}]" if ":" in plain[0] else plain[0]
    path = parts.path.rstrip("/")
    where = f"{bracketed}:{PORT if port is None else port}"
    return Host(name, f"{parts.scheme}://{where}{path}")
