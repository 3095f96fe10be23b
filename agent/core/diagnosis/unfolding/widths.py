# SPDX-License-Identifier: Apache-2.0
"""Lines that a terminal or a viewer broke at its width are put together again."""

from __future__ import annotations

import re
from collections import Counter

WIDTHS = range(60, 260)
"""Widths of terminals and viewers."""

LEAST = 2
"""Lines that must fill the width, each with a rest behind it that begins nothing."""

ALIKE = 12
"""Characters at their beginnings by which lines behind one prefix are alike."""

_DIGITS = str.maketrans("123456789", "0" * 9)
_CUT = ("…", ">", "...")
"""How what was cut off, and not broken, ends."""

_BEGINS = re.compile(
    r"(?:\([A-Za-z][\w =-]{0,40} pid=\d{1,9}\) |(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)[: ]"
    r"|Traceback \(most|  File \"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d |\d{4}-\d\d-\d\d[T ]\d\d:"
    r"|(?:[a-z_]\w{0,40}\.){0,6}[A-Z]\w{0,60}(?:Error|Exception): | {2,40}\S"
    r"|[\w.-]{1,60} {1,20}\| |\[pod/|\[rank\d|\(\w{1,30}\) |\[\d{4}-\d\d-\d\d )"
)
"""How a line of a log begins that is no rest of the one before."""


def joined(lines: list[str]) -> list[str]:
    """Return the lines without the breaks of one width, or as they are where none is shown."""
    longest = max(map(len, lines), default=0)
    padded = sum(len(line) == longest for line in lines) * 10 > len(lines) * 9
    shown = [line.rstrip() for line in lines] if padded else lines
    # A blank at the edge of a terminal that fills its lines with blanks is not to be seen.
    unseen = 1 if padded else 0
    width = _width_of(shown, unseen)
    if width is None:
        return lines
    whole: list[str] = []
    before = ""
    for line in shown:
        if width - unseen <= len(before) <= width and not _begins(line, before):
            whole[-1] += line.rjust(len(line) + width - len(before))
        else:
            whole.append(line)
        before = line
    return whole


def _width_of(lines: list[str], unseen: int) -> int | None:
    """Return the width at which lines are broken, None where none is shown.

    No line is longer than it, many are as long, but for so many blanks that are not to be seen, and
    what comes behind those begins nothing.
    """
    longest = max(map(len, lines), default=0)
    if longest not in WIDTHS:
        return None
    full = [n for n, line in enumerate(lines[:-1]) if len(line) == longest]
    rests = sum(bool(lines[n + 1]) and not _begins(lines[n + 1], lines[n]) for n in full)
    cut = sum(lines[n].endswith(_CUT) for n in full)
    near = Counter(len(line) for line in lines if longest - 12 <= len(line) < longest - unseen)
    usual = max(near.values(), default=0)
    told = len(full) >= LEAST and len(full) > 2 * usual and rests * 5 >= len(full) * 4
    return longest if told and cut * 2 < len(full) else None


def _begins(line: str, before: str) -> bool:
    """Tell whether a line begins as one of a log does, or as the one before it, but for numbers."""
    same = line[:ALIKE].translate(_DIGITS) == before[:ALIKE].translate(_DIGITS)
    return (same and len(line) >= ALIKE) or _BEGINS.match(line) is not None
