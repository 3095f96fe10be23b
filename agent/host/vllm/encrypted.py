# SPDX-License-Identifier: Apache-2.0
"""TLS over a socket that bounds every receive, so that they hold for it, too."""

from __future__ import annotations

import socket
from typing import Any

from urllib3.util.ssltransport import SSLTransport  # type: ignore[import-untyped]

from agent.host.vllm.access import Access, tls_context


def secured(connected: socket.socket, access: Access) -> Any:
    """Return the connection encrypted; raises UntrustedError before anything is sent.

    Raises OSError when the other side speaks no TLS.
    """
    transport: Any = SSLTransport(connected, tls_context())
    try:
        access.trust(transport.sslobj.getpeercert(binary_form=True))
    except OSError:
        connected.close()
        raise
    return transport
