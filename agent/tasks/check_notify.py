# SPDX-License-Identifier: Apache-2.0
"""Whether people can be told: the files of addresses, and the package that sends."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from agent.core.settings.notify import Notify
from agent.tasks.check_access import what_keeps_from_using

FILES = {"urls_file": "address of Apprise", "dead_mans_switch_file": "address"}
"""Keys that name a file which nobody but root may read, and what is in it, one a line."""


def what_keeps_from_telling(notify: Notify) -> Iterator[tuple[str, bool, str]]:
    """Yield key, whether it is certain, and a sentence for each thing that is in the way."""
    for key, what in FILES.items():
        file = getattr(notify, key)
        if file and (wrong := what_keeps_from_using(file, f"an {what}", "addresses")):
            yield key, *wrong
    if notify.urls_file and find_spec("apprise") is None:
        yield "urls_file", False, "apprise, which sends messages, is not here: apt install apprise"
