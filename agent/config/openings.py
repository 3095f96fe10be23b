# SPDX-License-Identifier: Apache-2.0
"""Readers of what the sandbox leaves open: a socket, directories to write to, addresses."""

from __future__ import annotations

import ipaddress
import re

from agent.config.values import WrongValueError, as_toml, plain_path, text

_SOCKET = re.compile(r"/run/[A-Za-z0-9_][A-Za-z0-9_.-]{0,60}/[A-Za-z0-9_][A-Za-z0-9_.-]{0,40}")
_SYSTEM = ("/etc", "/usr", "/boot", "/proc", "/sys", "/dev", "/run", "/bin", "/sbin", "/lib")


def socket_path(value: object) -> str:
    """Read the path of a Unix socket, in a directory of its own below /run."""
    path = text(value)
    if not _SOCKET.fullmatch(path):
        raise WrongValueError(
            f"{as_toml(path)} is not a socket in a directory below /run that the unit can make, "
            f"as /run/vllm/api.sock"
        )
    return path


def writable_directories(value: object) -> tuple[str, ...]:
    """Read directories that vLLM may write to besides its own, none of them the system's."""
    if not isinstance(value, list):
        raise WrongValueError(f'{as_toml(value)} is not a list of directories, as ["/data/kv"]')
    found: list[str] = []
    for item in value:
        path = plain_path(item).rstrip("/")
        if ".." in path.split("/") or "," in path:
            raise WrongValueError(f"{as_toml(path)} holds .. or a comma")
        if not path or any(path == top or path.startswith(f"{top}/") for top in _SYSTEM):
            raise WrongValueError(f"{as_toml(item)} belongs to the system; give vLLM a directory")
        found.append(path)
    return tuple(dict.fromkeys(found))


def outgoing_addresses(value: object) -> tuple[str, ...]:
    """Read IP addresses and networks that vLLM may reach, as systemd's IPAddressAllow= has them."""
    if not isinstance(value, list):
        raise WrongValueError(f'{as_toml(value)} is not a list of addresses, as ["10.0.0.0/24"]')
    return tuple(dict.fromkeys(_network(item) for item in value))


def _network(value: object) -> str:
    name = text(value)
    try:
        return str(ipaddress.ip_network(name, strict=False))
    except ValueError as error:
        raise WrongValueError(f"{as_toml(name)} is not an IP address or network") from error
