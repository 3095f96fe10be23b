# SPDX-License-Identifier: Apache-2.0
"""Writes unit files so that a reader, a crash or a full disk never meets half of one."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

from agent.errors import HostLacksError


def write_if_changed(path: Path, text: str, mode: int = 0o644) -> bool:
    """Makes the file hold exactly this text and mode; tells whether that changed anything.

    Written beside it, synced and renamed, so what was there stays whole until the new text is on
    disk. Replaces a symbolic link by a file. Raises HostLacksError when it cannot be written.
    """
    content = text.encode()
    try:
        if _holds(path, content, mode):
            return False
        _replace(path, content, mode)
    except OSError as failure:
        raise HostLacksError(
            f"cannot write {path}: {failure.strerror}; what was there is unchanged."
            f" {_advice(failure, path)}"
        ) from failure
    return True


def _holds(path: Path, content: bytes, mode: int) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return False
    with open(descriptor, "rb") as file:  # noqa: PTH123 - Path.open takes no descriptor
        if os.fstat(descriptor).st_mode & 0o7777 != mode:
            return False
        return file.read(len(content) + 1) == content


def _replace(path: Path, content: bytes, mode: int) -> None:
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(beside, flags, 0o600), "wb") as file:  # noqa: PTH123 - as above
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _advice(failure: OSError, path: Path) -> str:
    match failure.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return f"Free space on the file system of {path.parent}."
        case errno.EROFS:
            return (
                f"{path.parent} is read-only: remounted after a disk error, or not among the"
                " ReadWritePaths= of llmagent.service."
            )
        case errno.ENOENT | errno.ENOTDIR:
            return f"Make the directory {path.parent}."
        case _:
            return f"llmagent must be allowed to write in {path.parent}."
