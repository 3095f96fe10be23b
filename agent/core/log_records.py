# SPDX-License-Identifier: Apache-2.0
"""Log lines that came as JSON records, one a line, from what stored or shipped them."""

from __future__ import annotations

import json

_FIELDS = ("log", "MESSAGE", "message", "msg", "line", "textPayload")
"""Where the text is: Docker's json-file, journalctl -o json, and log shippers."""

MAX_RECORD = 262_144
"""Characters of a record that are parsed; a longer one is read as plain text."""


def text_of(raw: str) -> str:
    """Return the text in a JSON record, or the line itself where it is none.

    journald gives bytes that are no plain text, such as progress bars, as a list of numbers.
    """
    if not raw.startswith("{") or len(raw) > MAX_RECORD:
        return raw
    try:
        record = json.loads(raw)
    except (ValueError, RecursionError):
        return raw
    if not isinstance(record, dict):
        return raw
    for field in _FIELDS:
        match record.get(field):
            case str() as text:
                return text
            case [*numbers] if numbers and all(_is_byte(n) for n in numbers):
                return bytes(numbers).decode("utf-8", "replace")
            case _:
                pass
    return raw


def _is_byte(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 256
