# SPDX-License-Identifier: Apache-2.0
"""A note of the line that is being read, for the next process: what ended this one is skipped.

One write of a fixed place in a file of /run for each line (1 us): no line may be told as the wrong
one. What a process of this boot ended with stays known until the boot ends, as the lines of a run
that has not started yet are read again by every process.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

RUN: Final = "run "
"""Before the InvocationID of a run whose end is judged, where a mark names no line."""

PLACE_BYTES: Final = 512
"""Room for what names one line; a cursor of the journal has about 150 bytes."""

MOST_KNOWN: Final = 16
"""Lines of earlier processes that are remembered, the newest of them."""

_NOTHING: Final = bytes(PLACE_BYTES)


class LineMark:
    """The line that one thread reads; for that thread, except `release`."""

    def __init__(self, file: Path | None = None) -> None:
        """Take up what the last process left; without a file nothing is noted."""
        self.left = ""
        """The line that the last process was reading when it ended, "" where it read none."""
        self.known: frozenset[str] = frozenset()
        """Every line that ended a process in this boot, `left` among them."""
        self._descriptor: int | None = None
        if file is not None:
            with contextlib.suppress(OSError):
                self._take_up(file)

    def reads(self, line: str) -> None:
        """Note that this line is read from now on, in place of the one before."""
        self._write(line.encode(errors="replace")[:PLACE_BYTES].ljust(PLACE_BYTES, b"\0"))

    def has_read(self) -> None:
        """Note that no line is being read."""
        self._write(_NOTHING)

    def release(self) -> None:
        """Note no more: the process ends in order, whatever its threads still read."""
        self.has_read()
        self._descriptor = None

    def _take_up(self, file: Path) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._descriptor = os.open(file, flags, 0o600)
        content = os.pread(self._descriptor, PLACE_BYTES * (1 + MOST_KNOWN), 0)
        places = [content[at : at + PLACE_BYTES] for at in range(0, len(content), PLACE_BYTES)]
        names = [place.rstrip(b"\0").decode(errors="replace") for place in places]
        self.left = names[0] if names else ""
        known = [name for name in dict.fromkeys(names) if name][:MOST_KNOWN]
        self.known = frozenset(known)
        kept = b"".join(name.encode()[:PLACE_BYTES].ljust(PLACE_BYTES, b"\0") for name in known)
        os.pwrite(self._descriptor, _NOTHING + kept, 0)

    def _write(self, place: bytes) -> None:
        if self._descriptor is None:
            return
        try:
            os.pwrite(self._descriptor, place, 0)
        except OSError:
            self._descriptor = None  # what cannot be noted is read all the same


class LineMarks:
    """The marks of all sources of lines, a file each in one directory."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._marks: dict[str, LineMark] = {}
        if directory is not None:
            with contextlib.suppress(OSError):
                directory.mkdir(mode=0o700, exist_ok=True)
                for file in sorted(directory.iterdir()):
                    self.of(file.name)

    def of(self, source: str) -> LineMark:
        """Return the mark of a source by its name, which is a file's name too."""
        if source not in self._marks:
            file = None if self._directory is None else self._directory / source
            self._marks[source] = LineMark(file)
        return self._marks[source]

    def left(self) -> dict[str, str]:
        """Return what each source was reading when the last process ended."""
        return {name: mark.left for name, mark in self._marks.items() if mark.left}

    def told(self) -> tuple[str, ...]:
        """Return a sentence for each line that is left out since the last process ended with it."""
        return tuple(_sentence(source, what) for source, what in self.left().items())

    def release(self) -> None:
        """Have all of them note no more."""
        for mark in self._marks.values():
            mark.release()


def _sentence(source: str, what: str) -> str:
    doing, show = f"read a line ({source})", f"journalctl -n 1 --cursor='{what}'"
    if what.startswith(RUN):
        doing = f"judged the end of a run ({source})"
        show = f"journalctl _SYSTEMD_INVOCATION_ID={what.removeprefix(RUN)}"
    return (
        f"the last process of llmagent ended while it {doing}: it is left out as long as llmagent "
        f"is not stopped; `{show}` shows it"
    )
