# SPDX-License-Identifier: Apache-2.0
"""A log within one JSON value, or in one line whose line breaks are spelled out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from agent.core.diagnosis.unfolding.quotes import outside, quoted_in

FIELDS = (
    *("log", "MESSAGE", "message", "msg", "line", "textPayload", "body", "Body", "_raw"),
    *("@message", "Message", "Line", "text", "content"),
)
"""Where services that store logs put the line."""

MAX_DEPTH = 8
FEW = 3
"""Lines of a text in which line breaks were lost or spelled out: it has hardly any left."""

_KEY = re.compile(r"[\w.-]{1,60}:")
_BREAK = re.compile(r"<br\s{0,3}/?>|</(?:p|div|li|tr)>", re.IGNORECASE)
_SPELLED = re.compile(r"\\r\\n|\\n")
_ESCAPES = {r"\t": "\t", r"\"": '"', r"\'": "'", r"\\": "\\"}
_ESCAPE = re.compile(r"\\[t\"'\\]")


def rows_in_json(text: str) -> list[str] | None:
    """Return the lines in one JSON value, or records of one line each; None where it is no log.

    Of a list each item is a row: a text, a pair of a time and a text, or an object, which stays
    one, as a record. Of anything else the longest text in it is the log.
    """
    start = text.lstrip()[:1]
    if start not in ("{", "["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    lists = sorted(_lists_in(value, 0), key=len, reverse=True)
    for items in lists:
        rows = [_row_of(one) for one in items]
        told = [row for row in rows if row is not None]
        if len(told) > 1 and len(told) * 5 >= len(rows) * 4:
            return told
    log = max(_texts_in(value, 0), key=len, default="")
    return log.splitlines() if "\n" in log else None


def is_record(line: str) -> bool:
    """Tell whether a line is an object of JSON by itself, as of a journal."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def spelled_out(lines: list[str]) -> list[str] | None:
    r"""Return the lines of a text whose breaks are spelled "\n" or "<br>"; None of any other."""
    said = [line for line in lines if line.strip()]
    if not said or len(said) > FEW:
        return None
    for mark in (_BREAK, _SPELLED):
        first = [next(mark.finditer(line), None) for line in said]
        places = [(line, found) for line, found in zip(said, first, strict=True) if found]
        if any(not outside(quoted_in(line), found.start()) for line, found in places):
            continue  # a prompt is quoted, with the line breaks in it
        if sum(len(mark.findall(line)) for line in said) > len(said):
            broken = [part for line in said for part in mark.split(line)]
            if mark is _SPELLED:
                broken = [_ESCAPE.sub(lambda found: _ESCAPES[found[0]], part) for part in broken]
            return broken
    return None


def items_of(lines: list[str]) -> list[str] | None:
    """Return the texts of a list in JSON or YAML, one item a line, None of any other text."""
    said = [line.strip() for line in lines if line.strip()]
    said = said[1:] if said and _KEY.fullmatch(said[0]) is not None else said
    items = [_item(line) for line in said]
    told = [item for item in items if item is not None]
    if not told or len(told) * 10 < len(said) * 9:
        return None
    return [row for item in told for row in item.split("\n")]


def _item(line: str) -> str | None:
    line = line.removeprefix("- ").rstrip(",").strip()
    if not (line.startswith('"') and line.endswith('"') and len(line) > 1):
        return None
    try:
        item: object = json.loads(line)
    except ValueError:
        return None
    return item if isinstance(item, str) else None


def _lists_in(value: object, depth: int) -> Iterator[list[object]]:
    if depth > MAX_DEPTH:
        return
    if isinstance(value, list):
        yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        if isinstance(one, dict | list):
            yield from _lists_in(one, depth + 1)


def _texts_in(value: object, depth: int) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif depth <= MAX_DEPTH and isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts_in(one, depth + 1)


def _row_of(item: object) -> str | None:
    """Return the row of one item: its text, or the item as a record with the text at its top."""
    match item:
        case str():
            return item
        case [str() | int() as when, str() as text]:
            return json.dumps({"timestamp": str(when), "message": text})
        case dict():
            for holder in (item, *(one for one in item.values() if isinstance(one, dict))):
                for name in FIELDS:
                    if isinstance(said := holder.get(name), str):
                        return json.dumps({**_plain_of(item), **_plain_of(holder), "message": said})
    return None


def _plain_of(fields: dict[str, object]) -> dict[str, object]:
    """Return what of an object is no text of the log: times, names and numbers."""
    return {k: v for k, v in fields.items() if isinstance(v, str | int) and k not in FIELDS}
