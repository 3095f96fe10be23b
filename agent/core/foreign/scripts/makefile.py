# SPDX-License-Identifier: Apache-2.0
"""A Makefile as the shell script that its recipes are, the variables of make before them."""

from __future__ import annotations

import re
from collections.abc import Iterator

_SETS = re.compile(
    r"(?:override\s+)?(?:(?P<export>export)\s+)?(?P<name>[A-Za-z_][\w.-]*)\s*"
    r"(?P<how>[?:+!]?:?=)\s*(?P<value>.*)"
)
_USES = re.compile(r"\$(?:\((?P<round>[A-Za-z_]\w*)\)|\{(?P<braced>[A-Za-z_]\w*)\})")
_PREFIX = re.compile(r"[@+-]*")


def is_makefile(file: str) -> bool:
    """Tell by its name whether `make` reads a file."""
    name = file.rpartition("/")[2]
    return name in ("Makefile", "makefile", "GNUmakefile") or name.endswith(".mk")


def as_script(text: str) -> str:
    """Return the assignments and the recipes, written as sh has them.

    What make itself computes ($(shell ...), conditions) is left as it stands, so that it is named
    as computed.
    """
    return "".join(f"{line}\n" for line in _lines(text))


def _lines(text: str) -> Iterator[str]:
    for line in re.sub(r"\\\n[ \t]*", " ", text).splitlines():
        if line.startswith("\t"):
            recipe = _PREFIX.sub("", line.lstrip(), count=1)
            # "$$" is the shell's own dollar.
            yield _USES.sub(_braced, recipe).replace("$$", "$")
        elif found := _SETS.fullmatch(line.rstrip()):
            value = _USES.sub(_braced, found["value"])
            begin = "export " if found["export"] else ""
            adds = "+" if found["how"] == "+=" else ""
            quoted = value if value.startswith("$(") else f'"{value}"'
            yield f"{begin}{found['name']}{adds}={quoted}"


def _braced(found: re.Match[str]) -> str:
    return f"${{{found['round'] or found['braced']}}}"
