# SPDX-License-Identifier: Apache-2.0
"""Whom an engine in a container can run as on this host: what its places are open to.

Permission bits alone are looked at, of a bounded number of files: what they do not give, as an ACL
may, leaves the engine with root's id, by which it reads and writes everything.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections import deque
from pathlib import Path

from agent.core.settings.engine import GpuAccess
from agent.core.settings.service import Settings
from agent.core.unit.container_user import ContainerUser, places_of, wants_own_user, why_root

MOST_ENTRIES = 2000
"""So many files of one place are looked at: a model has dozens, a hub's cache hundreds."""

DEVICES = ("nvidia[0-9]*", "nvidiactl", "nvidia-uvm", "nvidia-caps/*")
_NOT_NEEDED = "nvidia-cap1"
"""By it MIG is set up, which no engine does."""

_READ, _WRITE, _SEARCH = 4, 2, 1


def container_user(settings: Settings) -> tuple[ContainerUser | None, str]:
    """Return whose ids the engine gets and "", or None and why it stays root.

    None and "" where the sandbox is not `strict` or there is no container.
    """
    if not wants_own_user(settings):
        return None, why_root(settings)
    try:
        entry = pwd.getpwnam(settings.user)
    except KeyError:
        return None, f"there is no user {settings.user}"
    user = ContainerUser(settings.user, entry.pw_uid, entry.pw_gid)
    places = places_of(settings)
    for wanted, given, cure in (
        (_READ, places.read, "chmod -R a+rX"),
        (_READ | _WRITE, places.written, f"chown -R {user.name}:"),
    ):
        for place in given:
            if closed := _first_closed(user, place, wanted):
                return None, f"{closed} is closed to the user {user.name}: `{cure} {place}`"
    if settings.engine.access is not GpuAccess.NONE:
        for device in (node for pattern in DEVICES for node in sorted(Path("/dev").glob(pattern))):
            wanted = _READ if device.parent.name == "nvidia-caps" else _READ | _WRITE
            if device.name != _NOT_NEEDED and not _opens(user, str(device), wanted):
                return None, f"{device} is closed to the user {user.name}"
    return user, ""


def _first_closed(user: ContainerUser, place: str, wanted: int) -> str:
    """Return what of a place the user may not use, "" for nothing; what is not there is open."""
    waiting = deque([place])
    for left in range(MOST_ENTRIES, 0, -1):
        if not waiting:
            break
        path = waiting.popleft()
        if not _opens(user, path, wanted):
            return path
        try:
            with os.scandir(path) as entries:
                waiting += [e.path for e in entries if not e.is_symlink()][:left]
        except OSError:
            continue  # a file, or something that is gone
    return ""


def _opens(user: ContainerUser, path: str, wanted: int) -> bool:
    try:
        found = os.stat(path)  # noqa: PTH116 - thousands of them
    except OSError:
        return True
    if stat.S_ISDIR(found.st_mode):
        wanted |= _SEARCH
    if found.st_uid == user.uid:
        bits = found.st_mode >> 6
    elif found.st_gid == user.gid:
        bits = found.st_mode >> 3
    else:
        bits = found.st_mode
    return bits & wanted == wanted
