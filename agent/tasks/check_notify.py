# SPDX-License-Identifier: Apache-2.0
"""Whether people can be told: the files of addresses, and the package that sends."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from agent.core.settings.notify import Notify
from agent.host.machine.access import file_facts

FILES = {"urls_file": "address of Apprise", "dead_mans_switch_file": "address"}
"""Keys that name a file which nobody but root may read, and what is in it, one a line."""


def what_keeps_from_telling(notify: Notify) -> Iterator[tuple[str, bool, str]]:
    """Yield key, whether it is certain, and a sentence for each thing that is in the way."""
    for key, what in FILES.items():
        file = getattr(notify, key)
        if not file:
            continue
        try:
            facts = file_facts(file)
        except PermissionError as error:
            yield key, False, f"{file} cannot be looked at: {error.strerror}; run check as root"
            continue
        if facts is None:
            yield key, True, f"{file} is no file; put an {what} in it, mode 0600"
        elif facts.mode & 0o077:
            others = f"{file} has mode {facts.mode:04o}, so others may read the addresses"
            yield key, True, f"{others}; chmod 600 {file}"
        elif facts.size == 0:
            yield key, True, f"{file} is empty; put an {what} in it"
    if notify.urls_file and find_spec("apprise") is None:
        yield "urls_file", False, "apprise, which sends messages, is not here: apt install apprise"
