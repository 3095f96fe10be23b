# SPDX-License-Identifier: Apache-2.0
"""The text of a web config file (exporter-toolkit's format) to a WebConfig, or all its mistakes."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from agent.core.record import dataclass
from agent.errors import ConfigError
from agent.host.files.own import read_own
from agent.host.files.yaml_text import yaml_document

_HASH = re.compile(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}")
_HEADERS = (
    "Content-Security-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
)
_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_CLIENT_AUTH = ("NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
LONGEST = 1 << 20
_UNVERIFIED = ("RequestClientCert", "RequireAnyClientCert")
_NOT_HERE = {
    "cert": "write it to a file and name that in cert_file",
    "key": "write it to a file and name that in key_file",
    "client_ca": "write it to a file and name that in client_ca_file",
    "client_allowed_sans": "not supported: use a CA of your own in client_ca_file",
    "cipher_suites": "not supported: OpenSSL's own choice is used; leave it out",
    "curve_preferences": "not supported: OpenSSL's own choice is used; leave it out",
    "rate_limit": "not supported: connections are bounded anyway; leave it out",
}


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """tls_server_config; paths are absolute or relative to the working directory."""

    cert: Path
    key: Path
    client_ca: Path | None = None
    client_auth: str = "NoClientCert"
    min_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    max_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3
    prefer_server_ciphers: bool = True


@dataclass(frozen=True, slots=True)
class WebConfig:
    """A whole file; an empty one means plain HTTP for everybody. `users` maps to bcrypt hashes."""

    tls: TlsFiles | None = None
    users: Mapping[str, bytes] = field(default_factory=dict)
    headers: tuple[tuple[str, str], ...] = ()


def read_web_config(file: Path) -> WebConfig:
    """Read the file; paths in it are relative to its own directory.

    Raises ConfigError with every mistake.
    """
    try:
        raw = yaml_document(read_own(file, LONGEST))
    except OSError as error:
        raise ConfigError(str(file), (f"cannot be read: {error.strerror}",)) from error
    except ValueError as error:
        raise ConfigError(str(file), (f"is not YAML: {error}",)) from error
    reader = _Reader()
    config = reader.config(raw, file.parent)
    if reader.mistakes:
        raise ConfigError(str(file), tuple(reader.mistakes))
    return config


class _Reader:
    def __init__(self) -> None:
        self.mistakes: list[str] = []

    def config(self, raw: object, directory: Path) -> WebConfig:
        top = self.table(raw, "", ("tls_server_config", "http_server_config", "basic_auth_users"))
        tls = None
        if "tls_server_config" in top:
            tls = self.tls(top["tls_server_config"], directory)
        http = self.table(top.get("http_server_config"), "http_server_config", ("http2", "headers"))
        # HTTP/1.1 is served whatever this says; exporter-toolkit's users have it in their files.
        self.flag(http, "http_server_config", "http2", default=True)
        return WebConfig(
            tls=tls,
            users=self.users(top.get("basic_auth_users")),
            headers=self.headers(http.get("headers")),
        )

    def tls(self, raw: object, directory: Path) -> TlsFiles | None:
        where = "tls_server_config"
        table = self.table(
            raw,
            where,
            (
                "cert_file",
                "key_file",
                "client_ca_file",
                "client_auth_type",
                "min_version",
                "max_version",
                "prefer_server_cipher_suites",
            ),
        )
        files = {}
        for name in ("cert_file", "key_file", "client_ca_file"):
            path = self.text(table, where, name)
            files[name] = directory / path if path else None
        cert, key, client_ca = files["cert_file"], files["key_file"], files["client_ca_file"]
        for name in ("cert_file", "key_file"):
            if files[name] is None:
                self.mistakes.append(f"{where}.{name}: missing")
        client_auth = self.client_auth(table, where)
        if client_auth != "NoClientCert" and client_ca is None:
            self.mistakes.append(f"{where}.client_auth_type: {client_auth} needs client_ca_file")
        own_ciphers = self.flag(table, where, "prefer_server_cipher_suites", default=True)
        min_version = self.version(table, where, "min_version", "TLS12")
        max_version = self.version(table, where, "max_version", "TLS13")
        if cert is None or key is None:
            return None
        return TlsFiles(
            cert=cert,
            key=key,
            client_ca=client_ca,
            client_auth=client_auth,
            min_version=min_version,
            max_version=max_version,
            prefer_server_ciphers=own_ciphers,
        )

    def client_auth(self, table: Mapping[str, object], where: str) -> str:
        value = self.text(table, where, "client_auth_type") or "NoClientCert"
        if value in _UNVERIFIED:
            self.mistakes.append(
                f"{where}.client_auth_type: {value} verifies nothing and is not supported; "
                "use RequireAndVerifyClientCert"
            )
        elif value not in _CLIENT_AUTH:
            self.mistakes.append(
                f"{where}.client_auth_type: {value!r} is none of {', '.join(_CLIENT_AUTH)}"
            )
        return value

    def version(
        self, table: Mapping[str, object], where: str, name: str, default: str
    ) -> ssl.TLSVersion:
        value = self.text(table, where, name) or default
        if value not in _VERSIONS:
            self.mistakes.append(f"{where}.{name}: {value!r} is none of {', '.join(_VERSIONS)}")
        return _VERSIONS.get(value, _VERSIONS[default])

    def users(self, raw: object) -> Mapping[str, bytes]:
        users = {}
        for name, stored in self.table(raw, "basic_auth_users", None).items():
            # The value is not repeated: it may be a password in clear.
            if not isinstance(stored, str) or not _HASH.fullmatch(stored):
                self.mistakes.append(
                    f"basic_auth_users.{name}: is not a bcrypt hash; make one with "
                    "`htpasswd -nBC 10 NAME` and write what follows the colon"
                )
            elif ":" in name:
                self.mistakes.append(f"basic_auth_users.{name}: a name cannot hold a colon")
            else:
                users[name] = stored.encode()
        return users

    def headers(self, raw: object) -> tuple[tuple[str, str], ...]:
        where = "http_server_config.headers"
        found = []
        for name, value in self.table(raw, where, _HEADERS).items():
            if isinstance(value, str) and value.isprintable() and value.isascii():
                found.append((name, value))
            else:
                self.mistakes.append(f"{where}.{name}: must be one line of ASCII text")
        return tuple(found)

    def table(self, raw: object, where: str, keys: tuple[str, ...] | None) -> Mapping[str, object]:
        if raw is None:
            return {}
        if not isinstance(raw, dict) or not all(isinstance(key, str) for key in raw):
            self.mistakes.append(f"{where or 'the file'}: must be a table of names and values")
            return {}
        prefix = f"{where}." if where else ""
        for key in raw:
            if keys is not None and key not in keys:
                why = _NOT_HERE.get(key) or f"unknown; there are {', '.join(keys)}"
                self.mistakes.append(f"{prefix}{key}: {why}")
        return raw

    def text(self, table: Mapping[str, object], where: str, name: str) -> str:
        value = table.get(name)
        if value is not None and not isinstance(value, str):
            self.mistakes.append(f"{where}.{name}: must be a text")
        return value if isinstance(value, str) else ""

    def flag(self, table: Mapping[str, object], where: str, name: str, *, default: bool) -> bool:
        value = table.get(name, default)
        if not isinstance(value, bool):
            self.mistakes.append(f"{where}.{name}: must be true or false")
        return value is True
