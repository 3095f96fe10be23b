# SPDX-License-Identifier: Apache-2.0
"""$NAME and ${NAME} in what a unit, a compose file or a script starts."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<bare>[A-Za-z_]\w*|\d)"
    r"|\{(?P<braced>[A-Za-z_]\w*|\d+)(?:(?P<how>:?[-?+=])"
    r"(?P<other>(?:[^{}]|\$\{[^{}]{0,400}\}){0,400}))?\})"
)
_LINE = re.compile(r"(?:export\s+)?([A-Za-z_]\w*)=(.*)")


def expanded(text: str, known: Mapping[str, str], missing: list[str]) -> str:
    """Return the text with its variables put in, "$$" as a dollar.

    A variable that nothing sets is left out, as shells and docker compose do, and named in
    `missing`.
    """

    def value(found: re.Match[str]) -> str:
        if found["escaped"]:
            return "$"
        name = found["bare"] or found["braced"]
        given, how = known.get(name), found["how"] or ""
        other = found["other"] or ""
        if "+" in how:
            return expanded(other, known, missing) if given else ""
        if given or (given is not None and not how.startswith(":")):
            return given
        if how.endswith(("-", "=")):
            return expanded(other, known, missing)
        if given is None:
            missing.append(name)
        return given or ""

    return _VARIABLE.sub(value, text)


def expanded_words(
    words: Sequence[str], known: Mapping[str, str], missing: list[str]
) -> tuple[str, ...]:
    """Return the words as systemd hands them over: a word that is `$NAME` alone becomes several."""
    result: list[str] = []
    for word in words:
        alone = re.fullmatch(r"\$([A-Za-z_]\w*)", word)
        if alone is None:
            result.append(expanded(word, known, missing))
        elif alone[1] in known:
            result += _split(known[alone[1]])
        else:
            missing.append(alone[1])
    return tuple(result)


def variables_of(words: Sequence[str]) -> frozenset[str]:
    """Return the variables that stand in these words."""
    found = (match for word in words for match in _VARIABLE.finditer(word))
    return frozenset(match["bare"] or match["braced"] or "" for match in found)


def variables_in(text: str) -> dict[str, str]:
    """Read the lines NAME=value of an EnvironmentFile= or of a compose file's env_file."""
    found = {}
    for line in text.splitlines():
        if match := _LINE.fullmatch(line.strip()):
            found[match[1]] = "".join(_split(match[2])[:1]) if match[2][:1] in "'\"" else match[2]
    return found


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
