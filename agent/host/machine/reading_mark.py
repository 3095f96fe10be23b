# SPDX-License-Identifier: Apache-2.0
"""A note of what is being read, for the next process: what ended this one is not read again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

LONGEST = 200


class ReadingMark:
    """One file, there while something is read that somebody else wrote; for one thread.

    `left` is what the last process was reading when it ended, "" where it ended otherwise.
    """

    def __init__(self, file: Path | None = None) -> None:
        """Take up what the last process left; without a file nothing is noted."""
        self._file = file
        self.left = ""
        with contextlib.suppress(OSError, UnicodeDecodeError):
            if file is not None:
                self.left = file.read_text()[:LONGEST]
                file.unlink()

    @contextlib.contextmanager
    def of(self, what: str) -> Iterator[None]:
        """Note that this is being read; where it cannot be noted it is read all the same."""
        with contextlib.suppress(OSError):
            if self._file is not None:
                self._file.write_text(what[:LONGEST])
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                if self._file is not None:
                    self._file.unlink(missing_ok=True)
