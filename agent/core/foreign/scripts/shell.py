# SPDX-License-Identifier: Apache-2.0
"""The text of a shell script as statements, one a line, and the words of one with variables in."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import field
from functools import partial

from agent.core.foreign.variables import expanded
from agent.core.record import dataclass

_ARRAY = re.compile(r"\$\{([A-Za-z_]\w*)\[[@*]\]\}")
_QUOTED, _LITERAL = "\1", "\2"
_INNER = re.compile(r"\x03(?:\{(\w+)\}|(\w+))?")
_ALL_ARGUMENTS = frozenset({"$@", "$*", "${@}", "${*}"})


@dataclass(slots=True)
class Scope:
    """What a script has set so far; `missing` are variables that nothing has set.

    `hollow` are variables that were set to the value of such a one, and the name of that;
    `branched` those that were set last where not every run of the script comes by.
    """

    known: dict[str, str]
    arrays: dict[str, list[str]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    hollow: dict[str, str] = field(default_factory=dict)
    branched: set[str] = field(default_factory=set)
    arguments: tuple[str, ...] = ()

    def give(self, arguments: tuple[str, ...]) -> None:
        """Set $1, $2 and "$@": those of a function, () for the script's own, which nobody knows."""
        for at in range(1, 10):
            self.known.pop(str(at), None)
        self.known |= {str(at): word for at, word in enumerate(arguments[:9], 1)}
        self.arguments = arguments


def statements(text: str) -> Iterator[str]:
    """Yield what stands between line ends, "&&", "||" and ";", quotes and arrays kept whole."""
    part, quote, depth, escaped = "", "", 0, False
    for at, sign in enumerate(text):
        before, after = text[at - 1] if at else "", text[at + 1 : at + 2]
        if escaped and sign == "\n" and quote != "\n":
            # A line that goes on; in a comment a backslash is one more letter.
            part, escaped = f"{part[:-1]} ", False
            continue
        if escaped or quote:
            quote = "" if sign == quote and not (escaped and quote != "\n") else quote
        elif sign in "\"'":
            quote = sign
        elif sign == "(":
            depth += 1
        elif sign == ")":
            depth = max(0, depth - 1)
        elif sign == "#" and not before.strip():
            quote = "\n"
        escaped = sign == "\\" and not escaped and quote != "'"
        doubled = sign == after and sign in "&|"
        if (sign in "\n;" or doubled or (sign == before and sign in "&|")) and not (quote or depth):
            if part.strip(" \t&|"):
                yield part.strip()
            part = ""
        elif quote == "\n" or (sign == "\n" and not (quote or depth)):
            continue
        else:
            part += " " if sign == "\n" and not quote else sign
    if part.strip(" \t&|"):
        yield part.strip()


def words_of(statement: str, scope: Scope) -> tuple[str, ...]:
    """Return the words as the shell would hand them over; () where quotes do not match."""
    words: list[str] = []
    try:
        parts = shlex.split(_marked(statement), comments=True, posix=True)
    except ValueError:
        return ()
    for part in parts:
        # An unquoted variable that holds several words becomes several.
        whole = "$" not in part or "\3" in part or re.search(r"\s", part) is not None
        word = _INNER.sub(partial(_of_an_inner_shell, scope), part.replace(_QUOTED, "$"))
        if word in _ALL_ARGUMENTS:
            words += scope.arguments
            continue
        if array := _ARRAY.fullmatch(word):
            words += scope.arrays.get(array[1], [])
            if array[1] not in scope.arrays:
                scope.missing.append(array[1])
            continue
        value = expanded(word, scope.known, scope.missing).replace(_LITERAL, "$")
        words += [value] if whole or value == word else value.split()
    return tuple(words)


def _of_an_inner_shell(scope: Scope, found: re.Match[str]) -> str:
    """Return a variable in single quotes: an inner shell knows what the script has set."""
    name = found[1] or found[2]
    return f"${{{name}}}" if name in scope.known else f"{_LITERAL}{found[0][1:]}"


def _marked(statement: str) -> str:
    """Return the statement with its dollars told apart: in either quotes, escaped, and neither."""
    result, quote, at = "", "", 0
    while at < len(statement):
        sign = statement[at]
        if sign == "\\" and quote != "'":
            following = statement[at + 1 : at + 2]
            result += _LITERAL if following == "$" else sign + following
            at += 2
            continue
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        dollar = _QUOTED if quote == '"' else "\3" if quote else "$"
        result += dollar if sign == "$" else sign
        at += 1
    return result


def variables(given: Mapping[str, str]) -> Scope:
    """Return a scope that begins with an environment."""
    return Scope(dict(given))


def absolute(path: str, directory: str) -> str:
    """Return where a path leads from a directory; one of a home as it stands."""
    if path.startswith(("/", "~")):
        return path
    return f"{directory.rstrip('/')}/{path.removeprefix('./')}" if directory else path
