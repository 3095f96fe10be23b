# SPDX-License-Identifier: Apache-2.0
"""Who may read the metrics, and how: a web config file in the format of exporter-toolkit.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md (0.13). Of it
everything is understood but what OpenSSL has no equal for; that is refused by name, not ignored.
"""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

from agent.core.record import dataclass
from agent.errors import ConfigError
from agent.host.web.config_file import TlsFiles, WebConfig, read_web_config
from agent.host.web.passwords import PasswordBook

Stamp = tuple[tuple[int, int, int] | None, ...]

_CLIENT_CERTIFICATES = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}


@dataclass(frozen=True, slots=True)
class _InForce:
    config: WebConfig
    context: ssl.SSLContext | None
    stamp: Stamp


class WebAccess:
    """One web config file in force; it and its certificates are read again when they change.

    A change that is wrong is reported once, and what was in force stays. All methods may be called
    from any thread.
    """

    def __init__(self, file: Path, report: Callable[[str], object]) -> None:
        """Read the file. Raises ConfigError."""
        self._file = file
        self._report = report
        self._lock = threading.Lock()
        self._passwords = PasswordBook()
        self._seen = _stamp(file, None)
        self._in_force = self._read()

    def tls(self) -> ssl.SSLContext | None:
        """Return the context for a new connection; None for plain HTTP."""
        return self._current().context

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Return the headers that every answer is to carry."""
        return self._current().config.headers

    def admits(self, authorization: str, peer: str = "") -> bool:
        """Tell whether a request with this Authorization header may be answered.

        Raises BusyError as PasswordBook does.
        """
        users = self._current().config.users
        return not users or self._passwords.admits(authorization, users, peer)

    def _current(self) -> _InForce:
        with self._lock:
            tls = self._in_force.config.tls
            now = _stamp(self._file, tls)
            if now not in (self._in_force.stamp, self._seen):
                self._seen = now
                try:
                    self._in_force = self._read()
                except ConfigError as error:
                    self._report(f"{error}; what was in force before stays")
            return self._in_force

    def _read(self) -> _InForce:
        config = read_web_config(self._file)
        # Taken before the certificates are read: a change meanwhile is noticed at the next look.
        stamp = _stamp(self._file, config.tls)
        context = None if config.tls is None else _context(self._file, config.tls)
        return _InForce(config, context, stamp)


def _stamp(file: Path, tls: TlsFiles | None) -> Stamp:
    files = (file,) if tls is None else (file, tls.cert, tls.key, tls.client_ca)
    return tuple(_stamp_of(one) for one in files)


def _stamp_of(file: Path | None) -> tuple[int, int, int] | None:
    if file is not None:
        with contextlib.suppress(OSError):
            status = file.stat()
            return (status.st_mtime_ns, status.st_size, status.st_ino)
    return None


def _context(file: Path, tls: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = tls.min_version
    context.maximum_version = tls.max_version
    if tls.prefer_server_ciphers:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    try:
        # An encrypted key would otherwise be asked for on the terminal.
        context.load_cert_chain(tls.cert, tls.key, password="")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        mistake = f"tls_server_config: {tls.cert} with {tls.key} cannot be used: {reason}"
        raise ConfigError(str(file), (mistake,)) from error
    try:
        if tls.client_ca is not None:
            context.load_verify_locations(tls.client_ca)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        mistake = f"tls_server_config.client_ca_file: {tls.client_ca} cannot be used: {reason}"
        raise ConfigError(str(file), (mistake,)) from error
    context.verify_mode = _CLIENT_CERTIFICATES[tls.client_auth]
    return context
