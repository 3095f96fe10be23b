# SPDX-License-Identifier: Apache-2.0
"""Whether a user may read a file: asked of the kernel as that user, so that ACLs count too."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
from pathlib import Path

from agent.core.record import dataclass

DEADLINE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class FileFacts:
    """Owner, permission bits and size in bytes of a regular file."""

    owner: int
    mode: int
    size: int


def file_facts(path: str) -> FileFacts | None:
    """Return the facts of a regular file, None when there is none.

    Raises PermissionError when a directory above it may not be searched.
    """
    try:
        status = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return FileFacts(status.st_uid, stat.S_IMODE(status.st_mode), status.st_size)


def exists(path: str) -> bool:
    """Tell whether there is anything at `path`; a broken link is nothing.

    Raises PermissionError when that cannot be known (Python 3.13's own exists() says False).
    """
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def user_id(user: str) -> int | None:
    """Return the id of a user, None when there is no such user."""
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        return None


def first_unreadable(path: str, user: str) -> str | None:
    """Return a file or directory that `user` cannot read: `path` or what is directly in it.

    None also when it cannot be known, as only root can ask for another user, and when the answer
    takes longer than `DEADLINE_SECONDS` (a dead network file system).
    """
    return _find_unreadable(path, "/", user)


def first_unreadable_below(path: str, user: str) -> str | None:
    """Like `first_unreadable`, with every directory above `path` taken for open."""
    directory = path if Path(path).is_dir() else str(Path(path).parent)
    name = "." if directory == path else f"./{Path(path).name}"
    found = _find_unreadable(name, directory, user)
    return None if found is None else str(Path(directory) / found)


def _find_unreadable(name: str, directory: str, user: str) -> str | None:
    entry = pwd.getpwnam(user)
    if os.geteuid() not in (0, entry.pw_uid):
        return None
    root = os.geteuid() == 0
    try:
        # The child enters the directory while it is still root.
        done = subprocess.run(
            ["find", "-L", name, "-maxdepth", "1", "!", "-readable", "-print", "-quit"],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=DEADLINE_SECONDS,
            cwd=directory,
            user=entry.pw_uid if root else None,
            group=entry.pw_gid if root else None,
            extra_groups=os.getgrouplist(user, entry.pw_gid) if root else None,
        )
    except subprocess.TimeoutExpired:
        return None
    if done.stdout:
        return done.stdout.splitlines()[0]
    return name if done.returncode != 0 else None
