# SPDX-License-Identifier: Apache-2.0
"""Throw-away certificates by the openssl command."""

from __future__ import annotations

import subprocess
from pathlib import Path


def self_signed(directory: Path, name: str, common_name: str = "localhost") -> tuple[Path, Path]:
    """Returns the certificate and the key; the certificate is its own CA."""
    cert, key = directory / f"{name}.crt", directory / f"{name}.key"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    names = ["-subj", f"/CN={common_name}", "-out", str(cert), "-keyout", str(key)]
    addresses = ["-addext", f"subjectAltName=DNS:{common_name},IP:127.0.0.1"]
    subprocess.run(
        [*command.split(), *names, *addresses], check=True, capture_output=True, timeout=60
    )
    return cert, key
