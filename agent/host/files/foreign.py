# SPDX-License-Identifier: Apache-2.0
"""Reads files in directories of another user, who may have put anything there.

The hub's cache belongs to the service's user, and root reads it. So nothing but a regular file is
opened (a FIFO blocks for ever, a device never ends), no link is followed to where root could read
and tell what that user may not, and no more is read than such a file ever has. Blocking is left
where only the file system itself does not answer.
"""

from __future__ import annotations

import errno
import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from agent.core.plain import plain

LONGEST = 32 << 20
MOST_LINKS = 40
"""As Linux itself has it (MAXSYMLINKS)."""
SHOWN = 200
MOST_ENTRIES = 20_000
"""In one directory, and in all below one; the largest checkpoints have a few hundred files."""


def trusted(path: Path) -> Path:
    """Return the real path, by links that nobody made to be led where he may not go himself.

    A link of root or of ourselves may lead anywhere; another user's only to what is that user's.
    What does not exist is its own real path. Raises OSError.
    """
    here, left, links = Path("/"), list(path.absolute().parts[1:]), 0
    while left:
        step = here / left.pop(0)
        if step.name == "..":
            here = here.parent
            continue
        try:
            facts = step.lstat()
        except FileNotFoundError:
            return step.joinpath(*left)
        if not stat.S_ISLNK(facts.st_mode):
            here = step
            continue
        links += 1
        if links > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        if facts.st_uid not in (0, os.geteuid()) and step.stat().st_uid != facts.st_uid:
            raise _refused(step, "is a link of another user to what is not that user's")
        aim = step.readlink()
        here = Path("/") if aim.is_absolute() else here
        left = [*(aim.parts[1:] if aim.is_absolute() else aim.parts), *left]
    return here


def inside(file: Path, root: Path) -> Path:
    """Return the real path of what is below `root`, a real path itself; OSError where it is not."""
    real = Path(os.path.realpath(file))
    if not real.is_relative_to(root):
        raise _refused(file, f"leads out of {shown(root)}")
    return real


def open_regular(real: Path) -> BinaryIO:
    """Open a regular file by its real path; raises OSError for anything else, links included."""
    # A look first: opening a device may do something. Then what was looked at is opened, nothing
    # that has taken its name since.
    seen = os.open(real, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(seen).st_mode):
            raise _refused(real, "is no regular file")
        same = f"/proc/self/fd/{seen}"
        if os.readlink(same) != str(real):  # noqa: PTH115 - it is no path of a file
            raise _refused(real, "has become another while it was opened")
        descriptor = os.open(same, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(seen)
    return os.fdopen(descriptor, "rb")


def read_regular(real: Path, most: int = LONGEST) -> bytes:
    """Return the content of a regular file of at most so many bytes; raises OSError."""
    with open_regular(real) as stream:
        content = stream.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"is larger than {most >> 10} KiB", str(real))
    return content


def entries(directory: str | Path, most: int = MOST_ENTRIES) -> Iterator[os.DirEntry[str]]:
    """Yield what is in a directory, the first `most` alone; raises OSError where it is none.

    `Path.iterdir`, `Path.glob` and `os.walk` read a directory to its end before they give anything:
    one of a million names takes 100 MB.
    """
    with os.scandir(directory) as found:
        yield from itertools.islice(found, most)


def files_below(directory: str | Path, most: int = MOST_ENTRIES) -> Iterator[os.DirEntry[str]]:
    """Yield what is in a directory and below it but directories; of all entries the first `most`.

    No link is entered, and a directory that cannot be read has nothing.
    """
    waiting, left = [os.fspath(directory)], most
    while waiting and left > 0:
        try:
            for entry in entries(waiting.pop(), left):
                left -= 1
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    yield entry
        except OSError:
            continue


def shown(name: object) -> str:
    """Return a name for a person: foreign ones may hold anything, and be of any length."""
    text = plain(str(name), SHOWN + 1)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _refused(file: Path, why: str) -> OSError:
    return OSError(errno.EPERM, f"{why}, so it is not read", str(file))
