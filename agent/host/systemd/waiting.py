# SPDX-License-Identifier: Apache-2.0
"""Who waits at a terminal for a `systemctl` verb on a unit, and how to tell them why it fails.

systemctl passes on nothing of what ExecReload= prints: it only says that the job failed and that
the journal knows more (systemctl(1) of systemd 252 and 257). Its own standard error is open to
root in /proc.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
RELOADING: Final = frozenset(
    {"reload", "reload-or-restart", "try-reload-or-restart", "force-reload"}
)
"""The verbs of systemctl that run ExecReload= of a unit that is active."""


def tell_who_waits(unit: str, verbs: Collection[str], words: str) -> int:
    """Write the words to the standard error of root's systemctls that wait for this unit.

    Returns how many were told. Only terminals and pipes are written to, and no write blocks. Who
    cannot be told is left out: the words are in the journal, too.
    """
    told = 0
    for pid in _waiting(unit, verbs):
        with contextlib.suppress(OSError):
            _write(PROC / str(pid) / "fd/2", f"{words}\n".encode())
            told += 1
    return told


def _waiting(unit: str, verbs: Collection[str]) -> Iterator[int]:
    names = {unit, unit.removesuffix(".service")}
    for process in PROC.iterdir():
        if not process.name.isdecimal():
            continue
        try:
            is_roots = process.stat().st_uid == 0
            argv = (process / "cmdline").read_text(errors="replace").split("\0")
        except OSError:
            continue  # it has ended meanwhile
        words = [word for word in argv[1:] if word and not word.startswith("-")]
        is_systemctl = argv[0].rpartition("/")[2] == "systemctl"
        if is_roots and is_systemctl and words and words[0] in verbs and names & {*words[1:]}:
            yield int(process.name)


def _write(end: Path, text: bytes) -> None:
    descriptor = os.open(end, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if os.isatty(descriptor):
            text = text.replace(b"\n", b"\r\n")
        elif not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            raise OSError(f"{end} is neither a terminal nor a pipe")
        os.write(descriptor, text)
    finally:
        os.close(descriptor)
