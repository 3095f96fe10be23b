# SPDX-License-Identifier: Apache-2.0
"""Whether other hosts can be asked: the files with the password and the certificates."""

from __future__ import annotations

from collections.abc import Iterator

from agent.core.settings.cluster import ClusterSettings
from agent.core.settings.fleet import Fleet
from agent.tasks.check_access import what_keeps_from_using

FILES = {"password_file": ("the password", "password"), "ca_file": ("certificates (PEM)", "")}
"""Keys that name a file, what is in it, and what of that only root may read, "" for nothing."""


def what_keeps_from_asking(asked: Fleet | ClusterSettings) -> Iterator[tuple[str, bool, str]]:
    """Yield key, whether it is certain, and a sentence for each thing that is in the way."""
    for key, (content, secret) in FILES.items():
        file = getattr(asked, key)
        if file and (wrong := what_keeps_from_using(file, content, secret)):
            yield key, *wrong
    key, hosts = ("hosts", asked.hosts) if isinstance(asked, Fleet) else ("peers", asked.peers)
    plain = [host for host in hosts if not host.startswith("https://")]
    if asked.password_file and plain:
        yield key, False, f"the password goes to {plain[0]} unencrypted; name it with https://"
