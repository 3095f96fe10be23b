# SPDX-License-Identifier: Apache-2.0
"""systemd's quoting: any string becomes one word of a unit file (systemd 252..257)."""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[A-Za-z0-9_@:=+,./~^-]+")
_NOT_IN_LISTS = re.compile(r"[\"'\\\x00-\x1f\x7f]")
_NAMED = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def argument(text: str) -> str:
    """Quote one argument of ExecStart=: neither systemd nor its $VARIABLES change it.

    Raises ValueError for a NUL character, which no argument can hold.
    """
    return _quoted(text).replace("$", "$$")


def assignment(name: str, value: str) -> str:
    """Quote one NAME=value for Environment=. Raises ValueError for a NUL character."""
    return _quoted(f"{name}={value}")


def path_in_list(path: str) -> str:
    """Quote one path of a list, as of BindReadOnlyPaths=, where a colon or a space would end it.

    Raises ValueError for quotes, backslashes and control characters, which systemd 252 and 257 read
    differently there.
    """
    if _NOT_IN_LISTS.search(path):
        raise ValueError(f"the path {path!r} cannot stand in a list of paths")
    return f'"{path.replace("%", "%%")}"'


def value(text: str) -> str:
    """Escape a setting that systemd takes as it stands but for its specifiers, as a description."""
    return " ".join(text.split()).replace("%", "%%")


def comment(text: str) -> str:
    """Return text as comment lines, whatever is in it."""
    return "".join(f"# {line}\n" for line in text.splitlines() or [""])


def _quoted(text: str) -> str:
    if "\x00" in text:
        raise ValueError("a NUL character cannot stand in a unit file")
    escaped = "".join(_escaped(character) for character in text).replace("%", "%%")
    return escaped if _PLAIN.fullmatch(text) else f'"{escaped}"'


def _escaped(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    if character < " " or character == "\x7f":
        return f"\\x{ord(character):02x}"
    return character
