# SPDX-License-Identifier: Apache-2.0
"""Colours, widths and times, as every screen shows them."""

from __future__ import annotations

import os
import shutil
import sys
from datetime import datetime

WIDE = 1000
"""A pipe has no width: 80 columns would break lines that nobody looks at."""

COLOUR = {
    "serving": 32,
    "held": 31,
    "examining": 31,
    "stopped": 33,
    "proven": 32,
    "contradicted": 31,
    "well": 32,
    "wrong": 31,
    "away": 31,
    "not yet": 33,
}
"""SGR codes by the word whose colour a piece of text is shown in."""


_ALTERNATE = "\x1b[?1049h\x1b[?25l"
_AS_BEFORE = "\x1b[?25h\x1b[?1049l"
_FROM_THE_TOP = "\x1b[H\x1b[2J"


class _WholeScreen:
    """Has the terminal show another screen meanwhile, and the one before it again at the end."""

    def __enter__(self) -> None:
        print(_ALTERNATE, end="", flush=True)

    def __exit__(self, *_why: object) -> None:
        print(_AS_BEFORE, end="", flush=True)


WHOLE_SCREEN = _WholeScreen()


def whole_screen(text: str) -> None:
    """Show this in place of what the screen showed; what does not fit is counted."""
    lines = text.splitlines()
    room = rows() - 1
    if len(lines) > room:
        lines = [*lines[: room - 1], f"... {len(lines) - room + 1} more lines"]
    print(_FROM_THE_TOP + "\n".join(lines), end="", flush=True)


def coloured() -> bool:
    """Whether stdout is a terminal that wants colours (https://no-color.org)."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def columns() -> int:
    """Return how wide a line may be."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE


def rows() -> int:
    """Return how many lines the terminal shows at once."""
    return shutil.get_terminal_size().lines


def paint(text: str, word: str, *, colour: bool) -> str:
    """Return the text in the colour of `word`, if that has one."""
    return f"\x1b[{COLOUR[word]}m{text}\x1b[0m" if colour and word in COLOUR else text


def cut(text: str, width: int) -> str:
    """Return the text in at most `width` columns, "..." where its end is left out."""
    return text if len(text) <= width else f"{text[: max(0, width - 3)]}..."


def duration(seconds: float) -> str:
    """Return a duration in its two largest units: "3 h 12 min"."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def local(seconds: float, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return a time since the epoch in the local time zone, as `form` of strftime(3) says.

    A time that no calendar has, from a clock or a row that was damaged, is told as such.
    """
    try:
        return f"{datetime.fromtimestamp(seconds).astimezone():{form}}"
    except (OverflowError, ValueError, OSError):
        return "at no known time"
