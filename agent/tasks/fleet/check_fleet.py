# SPDX-License-Identifier: Apache-2.0
"""Whether other hosts can be asked: the files with the password and the certificates."""

from __future__ import annotations

from collections.abc import Iterator

from agent.core.settings.fleet import Fleet
from agent.host.machine.access import file_facts

FILES = {"password_file": "the password", "ca_file": "certificates (PEM)"}


def what_keeps_from_asking(fleet: Fleet) -> Iterator[tuple[str, bool, str]]:
    """Yield key, whether it is certain, and a sentence for each thing that is in the way."""
    for key, what in FILES.items():
        file = getattr(fleet, key)
        if not file:
            continue
        try:
            facts = file_facts(file)
        except PermissionError as error:
            yield key, False, f"{file} cannot be looked at: {error.strerror}; run check as root"
            continue
        if facts is None or facts.size == 0:
            yield (
                key,
                True,
                f"{file} {'is no file' if facts is None else 'is empty'}; put {what} in it",
            )
        elif key == "password_file" and facts.mode & 0o077:
            others = f"{file} has mode {facts.mode:04o}, so others may read the password"
            yield key, True, f"{others}; chmod 600 {file}"
    plain = [host for host in fleet.hosts if not host.startswith("https://")]
    if fleet.password_file and plain:
        yield "hosts", False, f"the password goes to {plain[0]} unencrypted; name it with https://"
