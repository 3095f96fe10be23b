# SPDX-License-Identifier: Apache-2.0
"""Files of the operator that systemd hands to vLLM, which alone can then read them.

The files themselves may be root's with mode 0600: systemd reads them before it becomes the
service's user (systemd.exec(5), LoadCredential=).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

CREDENTIALS: Mapping[str, str] = MappingProxyType(
    {
        "hf_token_file": "hf_token",
        "api_key_file": "api_key",
        "ssl_certfile": "ssl_certfile",
        "ssl_keyfile": "ssl_keyfile",
        "ssl_ca_certs": "ssl_ca_certs",
    }
)
"""Each setting that names such a file, and the name under which the service finds it."""

ALL_MUST = 2
"""The ssl_cert_reqs with which vLLM serves no client without a certificate (ssl.CERT_REQUIRED)."""


def credentials_directory(unit: str) -> str:
    """Return where systemd puts a system unit's credentials: what %d stands for in it."""
    return f"/run/credentials/{unit}"


def credential_path(unit: str, name: str) -> str:
    """Return where the service of `unit` finds one of them."""
    return f"{credentials_directory(unit)}/{name}"
