# SPDX-License-Identifier: Apache-2.0
"""Frozen dataclasses to JSON values and back, by their type hints.

A library (cattrs) does this too, but costs 5 MiB of the agent's memory for one file of state.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from math import isfinite
from typing import Any, TypeVar, Union, get_args, get_origin

T = TypeVar("T")

LARGEST = 1 << 63


def encode(value: object, leave_out: frozenset[str] = frozenset()) -> Any:
    """Return `value` as dicts, lists and plain values; fields named in `leave_out` are skipped."""
    kind: Any = type(value)
    if kind in PLAIN:
        return value
    # What is plain is most of what there is: it is not worth a call, every second for every card.
    if (names := _names_of(kind)) is not None:
        return {
            name: item if type(item := getattr(value, name)) in PLAIN else encode(item, leave_out)
            for name in names
            if name not in leave_out
        }
    if isinstance(value, Mapping):
        return {
            str(key): item if type(item) in PLAIN else encode(item, leave_out)
            for key, item in value.items()
        }
    if isinstance(value, (tuple, list, frozenset)):
        return [encode(item, leave_out) for item in value]
    if isinstance(value, Enum):
        return value.value
    return value


PLAIN = frozenset({str, int, float, bool, type(None)})


@cache
def _names_of(kind: type) -> tuple[str, ...] | None:
    """Return the names of a dataclass's fields; asked for every value of every status.json."""
    return tuple(f.name for f in fields(kind)) if is_dataclass(kind) else None


@cache
def _hints_of(kind: type) -> dict[str, Any]:
    """Return the types of a dataclass's fields; resolving them costs more than all the rest."""
    return typing.get_type_hints(kind)


def decode(
    kind: type[T],
    data: object,
    lost: list[str] | None = None,
    whole: frozenset[type] = frozenset(),
) -> T:
    """Build a `kind` from what `encode` gave; unknown keys are ignored, absent ones default.

    Raises ValueError or TypeError when `data` does not have the shape of `kind`. With `lost`, what
    is wrong inside is left out instead, and named there: a field takes its default, an entry of a
    table or a list of things is dropped. Only what cannot be without it raises still. Dataclasses
    in `whole` mean something as a whole only: one with a wrong field is wrong itself.
    """
    return typing.cast("T", _Decoder(lost, whole).decode(kind, data, ""))


WRONG = (TypeError, ValueError, OverflowError, RecursionError)


class _Decoder:
    def __init__(self, lost: list[str] | None, whole: frozenset[type]) -> None:
        self._lost = lost
        self._whole = whole

    def decode(self, kind: Any, data: Any, at: str) -> Any:
        origin = get_origin(kind)
        if origin in (Union, types.UnionType):
            return self._union(get_args(kind), data, at)
        if origin is tuple:
            return self._tuple(get_args(kind)[0], _expect(list, data), at)
        if origin is not None and issubclass(origin, Mapping):
            key_kind, item_kind = get_args(kind)
            return self._mapping(key_kind, item_kind, _expect(dict, data), at)
        if isinstance(kind, type) and is_dataclass(kind):
            return self._dataclass(kind, _expect(dict, data), at)
        if isinstance(kind, type) and issubclass(kind, Enum):
            return kind(data)
        if kind is float:
            return _number(data)
        if kind in (Any, object):
            return data
        if kind is int:
            return _whole(data)
        return _text(data) if kind is str else _expect(kind, data)

    def _tuple(self, item: Any, data: list[Any], at: str) -> tuple[Any, ...]:
        # A list of numbers or texts means something by its length and order: it stays whole.
        if self._lost is None or item in PLAIN:
            return tuple(self.decode(item, entry, at) for entry in data)
        found = []
        for number, entry in enumerate(data):
            where = f"{at}[{number}]"
            try:
                found.append(self.decode(item, entry, where))
            except WRONG as error:
                self._lose(where, error)
        return tuple(found)

    def _mapping(self, key_kind: Any, item_kind: Any, data: dict[str, Any], at: str) -> Any:
        found = {}
        for key, item in data.items():
            where = f"{at}.{key}"
            try:
                found[self._key(key_kind, key)] = self.decode(item_kind, item, where)
            except WRONG as error:
                self._lose(where, error)
        return found

    def _key(self, kind: Any, key: str) -> Any:
        """JSON has only text as keys."""
        return int(key) if kind is int else self.decode(kind, key, "")

    def _union(self, kinds: tuple[Any, ...], data: Any, at: str) -> Any:
        if data is None and types.NoneType in kinds:
            return None
        exact = [kind for kind in kinds if kind is type(data)]
        for kind in exact or [kind for kind in kinds if kind is not types.NoneType]:
            try:
                return self.decode(kind, data, at)
            except WRONG:
                continue
        raise TypeError(f"{_shown(data)} is none of {kinds}")

    def _dataclass(self, kind: type, data: dict[str, Any], at: str) -> Any:
        if kind in self._whole and self._lost is not None:
            return _Decoder(None, self._whole).decode(kind, data, at)
        hints = _hints_of(kind)
        known = {}
        for f in fields(kind):
            needed = f.default is MISSING and f.default_factory is MISSING
            where = f"{at}.{f.name}" if at else f.name
            if f.name in data:
                try:
                    known[f.name] = self.decode(hints[f.name], data[f.name], where)
                except WRONG as error:
                    if needed:
                        raise
                    self._lose(where, error)
            elif needed:
                raise TypeError(f"{kind.__name__} lacks {f.name}")
        return kind(**known)

    def _lose(self, where: str, error: Exception) -> None:
        """Note what is left out; raise the error where nothing may be."""
        if self._lost is None:
            raise error
        self._lost.append(f"{where.lstrip('.')} ({_cut(str(error))})")


def _expect(kind: Any, data: Any) -> Any:
    wanted = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(data, kind) or (isinstance(data, bool) and bool not in wanted):
        raise TypeError(f"{_shown(data)} is not a {kind}")
    return data


def _number(data: Any) -> float:
    number = float(_expect((int, float), data))
    if not isfinite(number):
        raise ValueError("is no number")
    return number


def _whole(data: Any) -> int:
    """Return a whole number that a float and SQLite can hold."""
    number: int = _expect(int, data)
    if not -LARGEST <= number < LARGEST:
        raise ValueError("is no number of anything")
    return number


def _text(data: Any) -> str:
    """Return a text that can be written as UTF-8: JSON may hold halves of a pair."""
    text: str = _expect(str, data)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _shown(data: object) -> str:
    return _cut(repr(data))


def _cut(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:120]}..."
