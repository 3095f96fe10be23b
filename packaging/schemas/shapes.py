# SPDX-License-Identifier: Apache-2.0
"""Parts of JSON Schemas (draft 7), and the schema of a type as `agent.core.codec` writes it."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Union

from agent.core.view.cluster import ClusterView

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
NULL: Schema = {"type": "null"}
ANY: Schema = {}
WORD: Schema = {"type": "string", "minLength": 1}
PATH: Schema = {"type": "string", "pattern": "^/"}


def many(of: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "items": of}


def table(of: Schema) -> Schema:
    """Return the schema of an object whose keys are names."""
    return {"type": "object", "additionalProperties": of}


def shape(properties: Mapping[str, Schema], optional: frozenset[str] = frozenset()) -> Schema:
    """Return the schema of an object with these keys and no others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def or_null(of: Schema) -> Schema:
    """Return the schema of a value that may be null."""
    return {"anyOf": [of, NULL]}


def one_of(*words: str) -> Schema:
    """Return the schema of one of the words."""
    return {"enum": [*words]}


LOADED_LATE = {"ClusterView": ClusterView}
"""Types of fields that the program itself knows by name only, for its memory's sake."""


def of_type(kind: Any) -> Schema:
    """Return the schema of a type as `agent.core.codec` and `json` write its values."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    plain = {str: STRING, int: INTEGER, float: NUMBER, bool: BOOLEAN, types.NoneType: NULL}
    if kind in plain:
        return plain[kind]
    if origin in (Union, types.UnionType):
        return {"anyOf": [of_type(argument) for argument in arguments]}
    if origin in (tuple, list, frozenset, set):
        return many(of_type(arguments[0]))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return table(of_type(arguments[1]))
    if inspect.isclass(kind) and issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    if is_dataclass(kind):
        hints = typing.get_type_hints(kind, localns=LOADED_LATE)
        return shape({field.name: of_type(hints[field.name]) for field in fields(kind)})
    return ANY
