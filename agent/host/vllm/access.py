# SPDX-License-Identifier: Apache-2.0
"""How a vLLM is reached besides its address: a key, a certificate that is known, a Unix socket."""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
from collections.abc import Iterable
from pathlib import Path

from agent.core.engine.credentials import CREDENTIALS, credentials_directory
from agent.core.plain import plain
from agent.core.record import dataclass
from agent.core.settings.service import Settings
from agent.host.files.own import read_own

LARGEST_FILE = 1 << 20
_CERTIFICATE = re.compile(
    rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]{1,65536})-----END CERTIFICATE-----"
)


class UntrustedError(OSError):
    """The server or the agent does not take the other's certificate; nothing was asked."""


@dataclass(frozen=True, slots=True)
class Access:
    """`key` goes with each request that may need one, and with no other.

    `fingerprints` are SHA-256 sums of the certificates of which the server must show one; with
    `tls` and none of them nothing is sent. `client` are the files of the certificate and the key
    that a server which asks for one is shown.
    """

    key: str | None = None
    uds: str | None = None
    tls: bool = False
    fingerprints: frozenset[bytes] = frozenset()
    client: tuple[str, str] | None = None

    def trust(self, certificate: bytes | None) -> None:
        """Raise UntrustedError unless the certificate (DER) is known.

        Neither names nor dates are looked at: the file says which one is meant, and an engine whose
        certificate has expired is alive.
        """
        shown = hashlib.sha256(certificate or b"").digest()
        if shown not in self.fingerprints:
            raise UntrustedError("the server shows a certificate that is not in ssl_certfile")


def root_of(error: BaseException) -> BaseException:
    """Return what urllib3 has wrapped, one in the other."""
    for _ in range(8):
        inner = getattr(error, "reason", None) or next(iter(error.args), None)
        inner = inner if isinstance(inner, BaseException) else None
        found = next((one for one in error.args if isinstance(one, BaseException)), inner)
        if found is None:
            return error
        error = found
    return error


OPEN = Access()


def access_of(settings: Settings) -> Access:
    """Return the access to the service of these settings; what cannot be read is left out.

    What systemd handed to the present run comes before the operator's file, which may be newer.
    """
    keys = b"\n".join(_contents(settings, "api_key_file", settings.api_key_file)).split()
    shown = _contents(settings, "ssl_certfile", settings.ssl_certfile)
    own = (settings.client_certfile, settings.client_keyfile)
    return Access(
        key=keys[0].decode("ascii", "ignore") if keys else None,
        uds=settings.uds,
        tls=settings.speaks_tls,
        fingerprints=frozenset(first for file in shown for first in _first_of(file)),
        client=(own[0], own[1]) if own[0] is not None and own[1] is not None else None,
    )


def tls_context(client: tuple[str, str] | None = None) -> ssl.SSLContext:
    """Return a client's context that takes any certificate, for who looks at it afterwards.

    Raises UntrustedError when the own certificate and key, `client`, cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if client is None:
        return context
    # In TLS 1.3 a server looks at a client's certificate when the client has already sent its
    # request: a refusal is then lost with the connection, and looks like a server that dies.
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(*client, password="")
    except OSError as error:
        why = error.strerror or type(error).__name__
        wrong = f"client_certfile and client_keyfile cannot be used: {plain(why, 80)}"
        raise UntrustedError(wrong) from error
    return context


def _contents(settings: Settings, name: str, file: str | None) -> Iterable[bytes]:
    if file is None:
        return []
    handed = Path(credentials_directory(settings.unit)) / CREDENTIALS[name]
    found = []
    for path in (handed, Path(file)):
        try:
            found.append(read_own(path, LARGEST_FILE))
        except OSError:
            continue
    return found


def _first_of(pem: bytes) -> list[bytes]:
    """Return the fingerprint of the first certificate in a file, the server's own."""
    found = _CERTIFICATE.search(pem)
    if found is None:
        return []
    try:
        return [hashlib.sha256(base64.b64decode(found[1])).digest()]
    except ValueError:
        return []
