# SPDX-License-Identifier: Apache-2.0
"""Patterns of log lines: regular expressions in which nothing repeats without a bound.

A log holds what strangers wrote. Python's `re` backtracks, so `.*` or a repeated word before it can
take time that grows with the square or the cube of a line's length, and it holds the interpreter
meanwhile. `*` and `+` of our data files therefore mean "as many as such a thing has in a real
line", by what is repeated; a pattern that needs another bound writes it: `.{0,2000}`.
"""

from __future__ import annotations

import re

NUMBER = 18
"""Digits of one number: 10**18 bytes are more than any host has, and `int` refuses no such text."""

FIGURE = 24
"""Characters of a number with separators, as "2,097,152" or "0.30000000000000004"."""

BLANKS = 40
WORD = 100
NAME = 300
"""Characters without a blank: a path, a model's name, an option with its value."""

TEXT = 400
"""Characters of anything: what vLLM puts between two parts of one sentence."""

GROUPS = 20
"""Repetitions of a group."""

_ATOM = re.compile(
    r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]"
    r"|\(\?(?:P<\w+>|P=\w+|<[=!]|[:=!>]|[a-zA-Z-]+[:)])|.",
    re.DOTALL,
)
_DIGITS_ONLY = re.compile(r"\[(?:\\d|0-9|[.,-])+\]$")
_UNBOUNDED = re.compile(r"[*+]|\{\d*,\}")
_OWN_BOUND = re.compile(r"\{\d+(?:,\d+)?\}|\?")


def compile_pattern(text: str) -> re.Pattern[str]:
    """Compile a pattern of a data file, with a bound for each `*` and `+`; raises re.error.

    The text itself is not compiled: Python would keep that pattern, too, for as long as it runs.
    """
    return re.compile(bounded(text))


def bounded(text: str) -> str:
    """Return a pattern with `{m,n}` in place of each `*`, `+` and `{m,}`; a wrong one stays so."""
    parts: list[str] = []
    position, atom = 0, ""
    while position < len(text):
        if atom and (found := _OWN_BOUND.match(text, position)) is not None:
            parts.append(found.group())
        elif atom and (found := _UNBOUNDED.match(text, position)) is not None:
            least = {"*": "0", "+": "1"}.get(found.group()) or found.group()[1:-2] or "0"
            parts.append(f"{{{least},{max(_most(atom), int(least))}}}")
        else:
            found = _ATOM.match(text, position)
            assert found is not None
            parts.append(found.group())
            atom = "" if found.group()[0] in "(|^" else found.group()
            position = found.end()
            continue
        position = found.end()
        if text[position : position + 1] in {"?", "+"}:  # lazy, possessive
            parts.append(text[position])
            position += 1
        atom = ""
    return "".join(parts)


def _most(atom: str) -> int:
    if atom == ")":
        return GROUPS
    if atom == r"\d":
        return NUMBER
    if _DIGITS_ONLY.match(atom) is not None:
        return FIGURE
    if atom in {" ", r"\s"}:
        return BLANKS
    if atom == ".":
        return TEXT
    if atom == r"\S" or atom.startswith("[^"):
        return NAME
    return WORD
