# SPDX-License-Identifier: Apache-2.0
"""The socket that the exporter listens on."""

from __future__ import annotations

import socket
from typing import Final

from agent.core.record import dataclass
from agent.errors import AgentError

WAITING = 512
"""Connections that wait to be accepted. Beyond them the kernel drops a client's first packet, which
comes again after 1, 3 and 7 s; a place is free again within a few milliseconds."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Times in seconds: `request` from connection to request and for an answer, `idle` between."""

    connections: int = 32
    request: float = 10.0
    idle: float = 120.0


LIMITS: Final = ConnectionLimits()


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that does not block; raises AgentError when the address cannot be had."""
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, proto)
    except OSError as error:
        raise AgentError(f"[metrics] listen: {shown}: {error.strerror}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(WAITING)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise AgentError(
            f"[metrics] listen: cannot listen on {shown}: {error.strerror}; free the port "
            f"(ss -ltnp 'sport = :{port}' names who has it) or choose another"
        ) from error
    return listener
