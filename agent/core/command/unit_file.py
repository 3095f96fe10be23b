# SPDX-License-Identifier: Apache-2.0
"""The command line and the environment of a systemd unit, from the text of its files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import field

from agent.core.record import dataclass

_PREFIX = re.compile(r"[-@:+!|]*")


@dataclass(slots=True)
class UnitCommand:
    """ExecStart split into words, and Environment=; `files` are those of EnvironmentFile=."""

    words: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()


def unit_command(text: str) -> UnitCommand:
    """Read unit files, the drop-ins behind the unit as `systemctl cat` prints them.

    An empty ExecStart= forgets those before it; of several the last counts.
    """
    found = UnitCommand()
    for key, value in assignments(text):
        match key:
            case "ExecStart":
                found.words = _words(_PREFIX.sub("", value, count=1))
            case "Environment" if not value:
                found.environment = {}
            case "Environment":
                pairs = (word.partition("=") for word in _words(value))
                found.environment |= {name: given for name, equals, given in pairs if equals}
            case "EnvironmentFile":
                found.files = (*found.files, value.removeprefix("-")) if value else ()
            case _:
                continue
    return found


def assignments(text: str) -> Iterator[tuple[str, str]]:
    """Yield key and value of each line KEY=VALUE, lines that end with a backslash joined."""
    joined = re.sub(r"\\\n(?:[#;].*\n)*", " ", text)
    for line in joined.splitlines():
        stripped = line.strip()
        if stripped.startswith(("#", ";", "[")):
            continue
        key, equals, value = stripped.partition("=")
        if equals:
            yield key.strip(), value.strip()


def _words(value: str) -> tuple[str, ...]:
    try:
        words = shlex.split(value)
    except ValueError:
        words = value.split()
    return tuple(word.replace("%%", "%").replace("$$", "$") for word in words)
