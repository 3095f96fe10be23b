# SPDX-License-Identifier: Apache-2.0
"""The text of a unit that somebody wrote, and of its drop-ins, read from systemd's directories."""

from __future__ import annotations

import os
from pathlib import Path

from agent.errors import UsageError
from agent.host.files.foreign import read_regular

LONGEST = 256 << 10
"""Bytes of one file; the longest word of a command line has 128 KiB (Linux's MAX_ARG_STRLEN)."""

UNIT_DIRECTORIES = (
    Path("/etc/systemd/system"),
    Path("/run/systemd/system"),
    Path("/run/systemd/generator"),
    Path("/usr/local/lib/systemd/system"),
    Path("/usr/lib/systemd/system"),
)


def unit_file(name: str) -> Path | None:
    """Return the file of a unit, of its template where `name` is an instance of one."""
    whole = name if name.endswith(".service") else f"{name}.service"
    names = [whole]
    if "@" in whole:
        names.append(f"{whole.partition('@')[0]}@.service")
    for one in names:
        for directory in UNIT_DIRECTORIES:
            if (directory / one).exists():
                return directory / one
    return None


def unit_text(name: str) -> str | None:
    """Return the text of a unit and of its drop-ins; None where there is no such unit.

    A path is that unit, with the drop-ins beside it. Raises UsageError for what cannot be read.
    """
    if "/" in name and not name.endswith(".service"):
        return None
    found = Path(name) if "/" in name else unit_file(name)
    if found is None or not found.exists():
        return None
    directories = (found.parent,) if "/" in name else UNIT_DIRECTORIES
    whole = f"{name.rpartition('/')[2].removesuffix('.service')}.service"
    drop_ins = {
        file.name: file
        for directory in reversed(directories)
        for unit in dict.fromkeys((found.name, whole))
        for file in (directory / f"{unit}.d").glob("*.conf")
    }
    return "\n".join(_text(file) for file in (found, *(drop_ins[key] for key in sorted(drop_ins))))


def _text(file: Path) -> str:
    try:
        return read_regular(Path(os.path.realpath(file)), LONGEST).decode("utf-8", "replace")
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error
