# SPDX-License-Identifier: Apache-2.0
"""Reads a unit as systemd.syntax(7) and systemd.service(5) say, apart from what writes it.

tests/container/test_rendered_unit.py shows odd strings to real systemd.
"""

from collections.abc import Iterator

NAMED = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "s": " ", "b": "\b"}


def settings_of(unit: str) -> list[tuple[str, str, str]]:
    """Return (section, key, value) for each line, continued lines joined, comments left out."""
    section = ""
    found: list[tuple[str, str, str]] = []
    lines = iter(unit.split("\n"))
    for line in lines:
        if not line or line.startswith(("#", ";")):
            continue
        if line.startswith("["):
            section = line.strip("[]")
            continue
        while line.endswith("\\"):
            line = f"{line[:-1]} {next(lines)}"
        key, _, value = line.partition("=")
        found.append((section, key, value.strip()))
    return found


def values_of(unit: str, key: str) -> list[str]:
    """Return the values of each line with this key."""
    return [value for _, name, value in settings_of(unit) if name == key]


def words(value: str) -> list[str]:
    """Split into words, with quotes, C escapes and doubled percent signs undone."""
    found: list[str] = []
    word: list[str] | None = None
    quote = ""
    rest = iter(value)
    for character in rest:
        if character == "\\":
            word = [*(word or []), _escape(rest)]
        elif quote and character == quote:
            quote = ""
        elif not quote and character in "\"'":
            quote, word = character, word or []
        elif not quote and character in " \t\n\r":
            if word is not None:
                found.append("".join(word))
            word = None
        else:
            word = [*(word or []), character]
    if word is not None:
        found.append("".join(word))
    return [_specifiers(one) for one in found]


def argv(unit: str) -> list[str]:
    """Return the argv that ExecStart= leads to, without what stands before the program's path."""
    (command,) = values_of(unit, "ExecStart")
    first, *rest = words(command)
    return [first.lstrip("-+@:!"), *(_variables(word) for word in rest)]


def environment(unit: str) -> dict[str, str]:
    """Return the environment of all Environment= lines, with the specifiers of credentials kept."""
    pairs = [word.split("=", 1) for line in values_of(unit, "Environment") for word in words(line)]
    return {pair[0]: pair[1] for pair in pairs}


def _escape(rest: Iterator[str]) -> str:
    letter = next(rest)
    if letter == "x":
        return chr(int(next(rest) + next(rest), 16))
    return NAMED[letter]


def _specifiers(word: str) -> str:
    assert "%" not in word.replace("%%", "").replace("%d/", ""), f"a specifier is left in {word!r}"
    return word.replace("%%", "%")


def _variables(word: str) -> str:
    assert "$" not in word.replace("$$", ""), f"a variable is left in {word!r}"
    return word.replace("$$", "$")
