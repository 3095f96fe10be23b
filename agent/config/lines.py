# SPDX-License-Identifier: Apache-2.0
"""Where in a TOML text each key and table stands, so that a mistake can name its line."""

from __future__ import annotations

import re

_PART = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_KEY = rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*"
_HEADER = re.compile(rf"^[ \t]*\[[ \t]*({_KEY})[ \t]*\][ \t]*(?:#.*)?$")
_ASSIGNMENT = re.compile(rf"^[ \t]*({_KEY})[ \t]*=(.*)$")
_FENCES = ('"""', "'''")


def line_numbers(text: str) -> dict[tuple[str, ...], int]:
    """Map the path of each key and table to its line, counted from 1.

    Best effort: what stands in inline tables and in arrays of tables has no entry; the text must
    have passed a TOML parser.
    """
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    fence: str | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if fence is not None:
            fence = None if line.count(fence) % 2 == 1 else fence
            continue
        if header := _HEADER.match(line):
            table = _path(header.group(1))
            for length in range(1, len(table) + 1):
                found.setdefault(table[:length], number)
        elif assignment := _ASSIGNMENT.match(line):
            found.setdefault((*table, *_path(assignment.group(1))), number)
        fence = _opened(line)
    return found


def _path(key: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_PART, key))


def _opened(line: str) -> str | None:
    """Return the fence of a multi-line string that begins on this line and does not end on it."""
    return next((fence for fence in _FENCES if line.count(fence) % 2 == 1), None)
