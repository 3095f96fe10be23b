# SPDX-License-Identifier: Apache-2.0
"""Reads tables: each key has a reader that returns the value or says what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from agent.core.record import dataclass
from agent.core.settings.recovery import Window

Reader = Callable[[object], Any]
"""Takes what TOML holds; returns what the program uses, or raises WrongValueError."""

Keys = Mapping[str, Reader]

SECRET_VALUE = re.compile(r"hf_[A-Za-z0-9]{8,}|sk-[A-Za-z0-9_-]{8,}")
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9_@+,./-]*")
_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:+-]*")
_LISTEN = re.compile(r"(?:\[([0-9A-Fa-f:.%]+)\]|([A-Za-z0-9_.-]+)):([0-9]{1,5})")
LARGEST = 1 << 63
_HOST = re.compile(r"[A-Za-z0-9_.-]+|(?=[^:]*:)[0-9A-Fa-f:.]*")
_WINDOW = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])-([01]?[0-9]|2[0-3]):([0-5][0-9])")
_QUOTING = re.compile(r"[\"'\\]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class WrongValueError(Exception):
    """Says what a value must be, as the end of a sentence that begins with the key."""


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake: `path` leads to the key or table, `text` says what to do about it."""

    path: tuple[str, ...]
    text: str


def read_table(
    raw: object,
    path: tuple[str, ...],
    keys: Keys,
    mistakes: list[Mistake],
    *,
    tables: Iterable[str] = (),
    elsewhere: Mapping[str, tuple[str, ...]] | None = None,
    otherwise: str = "",
) -> dict[str, Any]:
    """Read what `keys` know; note every mistake and go on.

    `tables` are the sub-tables that the caller reads; `elsewhere` names for a key of another table
    where it belongs; `otherwise` ends the sentence about a key that resembles none.
    """
    if not isinstance(raw, dict):
        mistakes.append(Mistake(path, f"{as_toml(raw)} is not a table"))
        return {}
    values: dict[str, Any] = {}
    for name, value in raw.items():
        if name in tables:
            continue
        if name not in keys:
            text = _unknown(name, (*keys, *tables), elsewhere or {}, otherwise)
            mistakes.append(Mistake((*path, name), text))
            continue
        try:
            values[name] = keys[name](value)
        except WrongValueError as wrong:
            mistakes.append(Mistake((*path, name), str(wrong)))
    return values


def nearest(word: str, words: Iterable[str]) -> str | None:
    """Return the one of `words` that `word` was most likely meant to be."""
    import difflib  # only for who has made a mistake: the daemon does without its 0.7 MiB

    close = difflib.get_close_matches(word.lower().replace("-", "_"), list(words), n=1, cutoff=0.6)
    return close[0] if close else None


def _unknown(
    name: str, known: Iterable[str], elsewhere: Mapping[str, tuple[str, ...]], otherwise: str
) -> str:
    if name in elsewhere:
        return f"unknown key here; it belongs to [{'.'.join(elsewhere[name])}]"
    if near := nearest(name, known):
        return f"unknown key; did you mean {near}?"
    return f"unknown key{otherwise}"


def as_toml(value: object) -> str:
    """Return a value for a message: short, and without anything that looks like a secret."""
    match value:
        case bool():
            return "true" if value else "false"
        case str() if SECRET_VALUE.search(value):
            return "the value (not shown: it looks like a secret)"
        case str():
            return repr(value if len(value) <= 60 else f"{value[:57]}...")
        case dict():
            return "a table"
        case list():
            return "a list"
        case _:
            return f"{value!s:.60}"


def boolean(value: object) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise WrongValueError(f"{as_toml(value)} is not true or false")
    return value


def integer(low: int, high: int | None = None) -> Reader:
    """Make a reader of integers from `low` to `high`, both included."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise WrongValueError(f"{as_toml(value)} is not an integer")
        if value < low or (high is not None and value > high):
            span = f"at least {low}" if high is None else f"from {low} to {high}"
            raise WrongValueError(f"{as_toml(value)} must be {span}")
        if value >= LARGEST:
            raise WrongValueError(f"{as_toml(value)} is more than TOML's integers hold")
        return value

    return read


def number(low: float, high: float) -> Reader:
    """Make a reader of numbers from `low` to `high`, both included; an integer will do."""

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise WrongValueError(f"{as_toml(value)} is not a number")
        if not low <= value <= high:  # nor is a NaN
            raise WrongValueError(f"{as_toml(value)} must be from {low:g} to {high:g}")
        return float(value)

    return read


def share(value: object) -> float:
    """Read a share of a whole, above 0 and at most 1."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WrongValueError(f"{as_toml(value)} is not a number")
    if 1 < value <= 100:
        raise WrongValueError(f"{as_toml(value)} is above 1; it is a share, as {value / 100:g}")
    if not 0 < value <= 1:
        raise WrongValueError(f"{as_toml(value)} must be above 0 and at most 1")
    return float(value)


def text(value: object) -> str:
    """Read a string that is not empty and fits on one line."""
    if not isinstance(value, str):
        raise WrongValueError(f"{as_toml(value)} is not a string")
    if not value.strip():
        raise WrongValueError("must not be empty; remove the key to leave it to vLLM")
    if _CONTROL.search(value):
        raise WrongValueError(f"{as_toml(value)} holds a control character")
    return value


def token(value: object) -> str:
    """Read one word, as the name of a method or a data type."""
    word = text(value)
    if not _TOKEN.fullmatch(word):
        raise WrongValueError(f"{as_toml(word)} is not one plain word")
    return word


def one_of(*choices: str) -> Reader:
    """Make a reader of one of the words given."""

    def read(value: object) -> str:
        if value not in choices:
            near = nearest(value, choices) if isinstance(value, str) else None
            hint = f"; did you mean {near}?" if near else ""
            raise WrongValueError(f"{as_toml(value)} is not one of {', '.join(choices)}{hint}")
        return str(value)

    return read


def absolute_path(value: object) -> str:
    """Read a path that begins at the root."""
    path = text(value)
    if not path.startswith("/"):
        raise WrongValueError(f"{as_toml(path)} is not an absolute path")
    if _QUOTING.search(path):
        raise WrongValueError(f"{as_toml(path)} holds a quote or a backslash; rename it")
    return path


def plain_path(value: object) -> str:
    """Read an absolute path that systemd takes as it stands, without any quoting."""
    path = absolute_path(value)
    if not _PLAIN_PATH.fullmatch(path):
        raise WrongValueError(f"{as_toml(path)} holds more than letters, digits and _ @ + , . - /")
    return path


def plain_path_or_nothing(value: object) -> str:
    """Read a plain path, or the empty string for "none"."""
    return "" if value == "" else plain_path(value)


def host(value: object) -> str:
    """Read an IP address or a host name to listen on."""
    name = text(value)
    if not _HOST.fullmatch(name):
        raise WrongValueError(f"{as_toml(name)} is not an IP address or a host name")
    return name


def address(value: object) -> tuple[str, int]:
    """Read "host:port" or "[ipv6]:port"."""
    found = _LISTEN.fullmatch(text(value))
    if not found:
        raise WrongValueError(f'{as_toml(value)} is not "host:port", as "127.0.0.1:9836"')
    port = int(found.group(3))
    if not 1 <= port <= 65535:
        raise WrongValueError(f"{as_toml(value)}: the port must be from 1 to 65535")
    return found.group(1) or found.group(2), port


def window(value: object) -> Window:
    """Read a span of the day in local time, "03:00-05:00"; it may pass midnight."""
    found = _WINDOW.fullmatch(text(value))
    if not found:
        raise WrongValueError(f'{as_toml(value)} is not "HH:MM-HH:MM", as "03:00-05:00"')
    hours = [int(group) for group in found.groups()]
    span = Window(hours[0] * 3600 + hours[1] * 60, hours[2] * 3600 + hours[3] * 60)
    if span.begin == span.end:
        raise WrongValueError(f"{as_toml(value)} is empty: it ends when it begins")
    return span


def user_of_http(value: object) -> str:
    """Read the name before the colon of a basic authentication (RFC 7617)."""
    name = text(value)
    if ":" in name:
        raise WrongValueError(f"{as_toml(name)} holds a colon, which no user of HTTP may")
    return name
