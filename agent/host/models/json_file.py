# SPDX-License-Identifier: Apache-2.0
"""JSON that somebody else wrote: bounded before it becomes objects, which take 20 times the bytes.

The tables of a checkpoint (safetensors headers, the index of its files) are walked through without
becoming objects at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from agent.core.record import dataclass

CONFIG_BYTES = 2 << 20
MOST_TABLES = 20_000
MOST_ENTRIES = 100_000
"""The longest config.json seen has 30 KB of quantized modules' names."""
MOST_TENSORS = 500_000
MOST_FILES = 4096

_TEXT = rb'"([^"\\]*(?:\\.[^"\\]*){0,64})"'
_INSIDE = rb'([^"{}]*(?:"[^"\\]*(?:\\.[^"\\]*){0,4096}"[^"{}]*){0,4096})'
_TENSOR = re.compile(rb"\s*" + _TEXT + rb"\s*:\s*\{" + _INSIDE + rb"\}\s*([,}])", re.DOTALL)
_PAIR = re.compile(rb"\s*" + _TEXT + rb"\s*:\s*" + _TEXT + rb"\s*([,}])", re.DOTALL)
_WEIGHT_MAP = re.compile(rb'"weight_map"\s*:\s*\{')
_OFFSETS = re.compile(rb'"data_offsets"\s*:\s*\[\s*(\d{1,18})\s*,\s*(\d{1,18})\s*\]')
_DTYPE = re.compile(rb'"dtype"\s*:\s*"([A-Za-z0-9_]{1,32})"')
_OPENING = re.compile(rb"\s*\{")
_EMPTY = re.compile(rb"\s*\}")


def parse(text: bytes) -> Any:
    """Return the document; raises ValueError for what is no JSON or has too many parts."""
    if text.count(b"{") + text.count(b"[") > MOST_TABLES or text.count(b",") > MOST_ENTRIES:
        raise ValueError("has more parts than any model's")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("is nested too deep") from error


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as a safetensors header describes it; its bytes begin and end after the header."""

    name: str
    dtype: str
    begin: int
    end: int


def tensors(header: bytes) -> Iterator[Tensor]:
    """Yield the tensors of a safetensors header, which is JSON.

    Raises ValueError where it is none, or has more tensors than any.
    """
    opening = _OPENING.match(header)
    if opening is None:
        raise ValueError("is not a JSON object")
    for name, inside in _entries(_TENSOR, header, opening.end()):
        if name == "__metadata__":
            continue
        offsets, dtype = _OFFSETS.search(inside), _DTYPE.search(inside)
        if offsets is None:
            raise ValueError("has a tensor without offsets")
        kind = "" if dtype is None else dtype[1].decode()
        yield Tensor(name, kind, int(offsets[1]), int(offsets[2]))


def files_of_index(index: bytes) -> tuple[str, ...]:
    """Return the names of the files in `weight_map`, sorted; ValueError where there is none."""
    found = _WEIGHT_MAP.search(index)
    if found is None:
        raise ValueError("names no weights")
    names: set[str] = set()
    for _, value in _entries(_PAIR, index, found.end()):
        names.add(_text(value))
        if len(names) > MOST_FILES:
            raise ValueError(f"names more than {MOST_FILES} files")
    return tuple(sorted(names))


def _entries(entry: re.Pattern[bytes], text: bytes, start: int) -> Iterator[tuple[str, bytes]]:
    if _EMPTY.match(text, start):
        return
    for _ in range(MOST_TENSORS):
        found = entry.match(text, start)
        if found is None:
            raise ValueError(f"is broken at byte {start}")
        yield _text(found[1]), found[2]
        if found[3] == b"}":
            return
        start = found.end()
    raise ValueError(f"has more than {MOST_TENSORS} entries")


def _text(inside: bytes) -> str:
    """Return the text of a JSON string without its quotes."""
    if b"\\" in inside:
        return str(json.loads(b'"' + inside + b'"'))
    return inside.decode("utf-8", "replace")
