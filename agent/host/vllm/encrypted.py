# SPDX-License-Identifier: Apache-2.0
"""TLS over a socket that bounds every receive, so that they hold for it, too."""

from __future__ import annotations

import socket
import ssl
from typing import Any

from urllib3.util.ssltransport import SSLTransport  # type: ignore[import-untyped]

from agent.core.plain import plain
from agent.host.vllm.access import Access, UntrustedError, tls_context

ALERT = "_ALERT_"
"""In OpenSSL's names of what the other side has said, as in TLSV13_ALERT_CERTIFICATE_REQUIRED."""

CLOSED = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError)
"""How a handshake ends with a server that does not take the client's certificate: asyncio closes
the connection and sends no alert (uvicorn under vLLM 0.32, run)."""


def secured(connected: socket.socket, access: Access) -> Any:
    """Return the connection encrypted; raises UntrustedError before anything is sent.

    Raises OSError when the other side speaks no TLS. An end of the handshake is a refusal: whoever
    decides on it lives.
    """
    try:
        transport: Any = SSLTransport(connected, tls_context(access.client))
        access.trust(transport.sslobj.getpeercert(binary_form=True))
    except UntrustedError:
        connected.close()
        raise
    except OSError as error:
        connected.close()
        if why := _refusal(error, access):
            raise UntrustedError(why) from error
        raise
    return transport


def _refusal(error: OSError, access: Access) -> str:
    """Return what a handshake that failed says of the certificates, "" where it says nothing."""
    reason = (error.reason or "") if isinstance(error, ssl.SSLError) else ""
    if access.client is not None and (ALERT in reason or isinstance(error, CLOSED)):
        told = plain(reason, 60) or "it closed the connection"
        return f"the server refuses the certificate of client_certfile ({told})"
    if ALERT in reason:
        return f"the server ends the TLS handshake ({plain(reason, 60)})"
    return ""
