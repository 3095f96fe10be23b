# SPDX-License-Identifier: Apache-2.0
"""The values of options, read as vLLM reads them: 32k is 32,000, 32K is 32,768, auto is -1."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from agent.core.command.options import Kind

Value = bool | int | float | str | tuple[str, ...] | Mapping[str, Any] | None
"""A value as vLLM keeps it; None where a word says None, or JSON says null."""

AUTO = -1
"""What `--max-model-len auto` is: the longest that fits."""

_SIZE = re.compile(r"(\d{1,1000}(?:\.\d{1,1000})?)([kKmMgGtT])")
_BARE_SIZE = re.compile(r"\b\d+(?:\.\d+)?[kKmMgGtT]\b")
_QUOTED = re.compile(r'("(?:[^"\\]|\\.)*")')
_POWERS = "kmgt"
LONGEST_NUMBER = 18
"""Digits; 10**18 of anything are more than any host has."""
LONGEST_SHOWN = 100


class WrongWordError(ValueError):
    """A word is no value of its option; the message says what it should be."""


def size(word: str) -> int:
    """Read 4096, 32k (x 1000), 32K (x 1024), 25.6k; raises WrongWordError (vLLM 0.10..0.33)."""
    text = word.strip()
    found = _SIZE.fullmatch(text)
    if found is None:
        return _whole(text)
    number, suffix = found.groups()
    if len(number) > LONGEST_NUMBER:
        raise WrongWordError(f"a number of {len(number)} digits is no size")
    power = _POWERS.index(suffix.lower()) + 1
    if suffix.islower():
        return int(float(number) * 10 ** (3 * power))
    if "." in number:
        raise WrongWordError(
            f"{word!r}: {suffix} takes whole numbers; or write {number}{suffix.lower()}"
        )
    return int(number) << 10 * power


def length(word: str) -> int:
    """Read the same, and auto or -1 for what fits."""
    return AUTO if word.strip().lower() in ("auto", "-1") else size(word)


def _whole(word: str) -> int:
    try:
        return int(word)
    except ValueError as error:
        shown = word if len(word) <= LONGEST_SHOWN else f"{word[:LONGEST_SHOWN]}..."
        raise WrongWordError(f"{shown!r} is not a whole number") from error


def _real(word: str) -> float:
    try:
        value = float(word)
    except ValueError as error:
        raise WrongWordError(f"{word!r} is not a number") from error
    if not math.isfinite(value):
        raise WrongWordError(f"{word!r} is not a number")
    return value


def _table(word: str) -> Value:
    """Read JSON with sizes in it; a word without braces is a name, as of a file or a preset."""
    parts = _QUOTED.split(word)
    parts[::2] = [
        _BARE_SIZE.sub(lambda found: str(size(found.group())), part) for part in parts[::2]
    ]
    try:
        value = json.loads("".join(parts))
    except (ValueError, RecursionError) as error:
        if word.lstrip().startswith(("{", "[")):
            raise WrongWordError(f"{word!r:.60} is not JSON") from error
        return word
    if isinstance(value, list):
        return tuple(map(str, value))
    return value if isinstance(value, dict | int | float | str) else None


def read_value(kind: Kind, words: tuple[str, ...]) -> Value:
    """Return the value of an option that takes something; raises WrongWordError."""
    if kind is Kind.MANY:
        return words
    word = words[0]
    if word in ("", "None") and kind is not Kind.UNKNOWN:
        return None
    match kind:
        case Kind.WHOLE:
            return _whole(word)
        case Kind.SIZE:
            return size(word)
        case Kind.LENGTH:
            return length(word)
        case Kind.REAL:
            return _real(word)
        case Kind.TABLE:
            return _table(word)
        case _:
            return word


def is_true(word: str) -> bool:
    """Read what stands behind a switch: `--enable-prefix-caching=False` (vLLM before 0.9)."""
    if word.lower() in ("true", "1", "yes"):
        return True
    if word.lower() in ("false", "0", "no"):
        return False
    raise WrongWordError(f"{word!r} stands behind a switch, which takes none")


def nested(keys: list[str], word: str, *, adds: bool) -> dict[str, Any]:
    """Return {"a": {"b": value}} for `--option.a.b value`; `adds` for `--option.a.b+ x,y`."""
    value: Any
    if adds:
        value = word.split(",")
    else:
        try:
            value = json.loads(word)
        except (ValueError, RecursionError):
            value = size(word) if _SIZE.fullmatch(word.strip()) else word
    for key in reversed(keys):
        value = {key: value}
    return value if isinstance(value, dict) else {}


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return two tables as one: tables within are merged, lists joined, the rest is the newer."""
    return dict(_merged(old, new))


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key in {**old, **new}:
        before, after = old.get(key), new.get(key)
        if key not in new:
            yield key, before
        elif isinstance(before, dict) and isinstance(after, dict):
            yield key, merged(before, after)
        elif isinstance(before, list) and isinstance(after, list):
            yield key, before + after
        else:
            yield key, after
