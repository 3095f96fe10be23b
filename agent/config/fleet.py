# SPDX-License-Identifier: Apache-2.0
"""[fleet]: the other hosts that the status page shows."""

from __future__ import annotations

from agent.config.values import (
    Keys,
    Mistake,
    WrongValueError,
    as_toml,
    plain_path_or_nothing,
    read_table,
    text,
    user_of_http,
)
from agent.core.settings.fleet import Fleet
from agent.errors import UsageError


def _hosts(value: object) -> tuple[str, ...]:
    """Read a list of hosts, each once."""
    # Loaded by who names other hosts: memory.
    from agent.core.settings.hosts import MOST_HOSTS, host_of

    if not isinstance(value, list):
        raise WrongValueError(f"{as_toml(value)} is not a list of hosts")
    named = {}
    for item in value:
        name = text(item).strip()
        try:
            address = host_of(name).address
        except UsageError as error:
            raise WrongValueError(str(error)) from error
        if address in named:
            raise WrongValueError(f"{as_toml(name)} stands twice")
        named[address] = name
    if len(named) > MOST_HOSTS:
        raise WrongValueError(
            f"{len(named)} hosts are more than one page shows ({MOST_HOSTS}): for these Prometheus"
            " is made"
        )
    return tuple(named.values())


KEYS: Keys = {
    "hosts": _hosts,
    "user": user_of_http,
    "password_file": plain_path_or_nothing,
    "ca_file": plain_path_or_nothing,
}


def read_fleet(raw: object, mistakes: list[Mistake]) -> Fleet:
    """Read the table; every mistake is noted."""
    fleet = Fleet(**read_table(raw, ("fleet",), KEYS, mistakes))
    if bool(fleet.user) != bool(fleet.password_file):
        one, other = ("user", "password_file") if fleet.user else ("password_file", "user")
        mistakes.append(Mistake(("fleet", one), f"needs {other} beside it"))
    return fleet
