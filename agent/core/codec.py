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
from typing import Any, TypeVar, Union, get_args, get_origin

T = TypeVar("T")


def encode(value: object, leave_out: frozenset[str] = frozenset()) -> Any:
    """Return `value` as dicts, lists and plain values; fields named in `leave_out` are skipped."""
    kind: Any = type(value)
    if kind in PLAIN:
        return value
    names = _names_of(kind)
    if names is not None:
        return {
            name: encode(getattr(value, name), leave_out) for name in names if name not in leave_out
        }
    if isinstance(value, Mapping):
        return {str(key): encode(item, leave_out) for key, item in value.items()}
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


def decode(kind: type[T], data: object) -> T:
    """Build a `kind` from what `encode` gave; unknown keys are ignored, absent ones default.

    Raises ValueError or TypeError when `data` does not have the shape of `kind`.
    """
    return typing.cast("T", _decode(kind, data))


def _decode(kind: Any, data: Any) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _decode_union(get_args(kind), data)
    if origin is tuple:
        item = get_args(kind)[0]
        return tuple(_decode(item, entry) for entry in _expect(list, data))
    if origin is not None and issubclass(origin, Mapping):
        key_kind, item_kind = get_args(kind)
        return {
            _decode_key(key_kind, key): _decode(item_kind, item)
            for key, item in _expect(dict, data).items()
        }
    if isinstance(kind, type) and is_dataclass(kind):
        return _decode_dataclass(kind, _expect(dict, data))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(data)
    if kind is float:
        return float(_expect((int, float), data))
    if kind in (Any, object):
        return data
    return _expect(kind, data)


def _decode_key(kind: Any, key: str) -> Any:
    """JSON has only text as keys."""
    return int(key) if kind is int else _decode(kind, key)


def _decode_union(kinds: tuple[Any, ...], data: Any) -> Any:
    if data is None and types.NoneType in kinds:
        return None
    exact = [kind for kind in kinds if kind is type(data)]
    for kind in exact or [kind for kind in kinds if kind is not types.NoneType]:
        try:
            return _decode(kind, data)
        except (TypeError, ValueError):
            continue
    raise TypeError(f"{data!r} is none of {kinds}")


def _decode_dataclass(kind: type, data: dict[str, Any]) -> Any:
    hints = typing.get_type_hints(kind)
    known = {}
    for f in fields(kind):
        if f.name in data:
            known[f.name] = _decode(hints[f.name], data[f.name])
        elif f.default is MISSING and f.default_factory is MISSING:
            raise TypeError(f"{kind.__name__} lacks {f.name}")
    return kind(**known)


def _expect(kind: Any, data: Any) -> Any:
    wanted = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(data, kind) or (isinstance(data, bool) and bool not in wanted):
        raise TypeError(f"{data!r} is not a {kind}")
    return data
