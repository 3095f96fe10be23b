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


def secured(connected: socket.socket, access: Access) -> Any:
    """Return the connection encrypted; raises UntrustedError before anything is sent.

    Raises OSError when the other side speaks no TLS. An alert of TLS is a refusal: who sends one
    lives.
    """
    try:
        transport: Any = SSLTransport(connected, tls_context(access.client))
        access.trust(transport.sslobj.getpeercert(binary_form=True))
    except ssl.SSLError as error:
        connected.close()
        if ALERT not in (error.reason or ""):
            raise
        why = "the server refuses the certificate of client_certfile"
        if access.client is None:
            why = "the server ends the TLS handshake: does it ask for clients' certificates?"
        raise UntrustedError(f"{why} ({plain(error.reason, 60)})") from error
    except OSError:
        connected.close()
        raise
    return transport
