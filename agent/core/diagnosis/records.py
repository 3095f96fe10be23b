# SPDX-License-Identifier: Apache-2.0
"""Log lines that came as records, one a line, from what stored or shipped them."""

from __future__ import annotations

import json
import re

_FIELDS = ("log", "MESSAGE", "message", "msg", "line", "textPayload")
"""Where the text is: Docker's json-file, journalctl -o json, and log shippers."""

_LOGFMT = re.compile(r'time="?[^" ]+"? level=\w+ msg="((?:[^"\\]|\\.)*)"')
"""The text form of logrus, in which Docker's and Kubernetes' own tools write."""

MAX_RECORD = 262_144
"""Characters of a record that are parsed; a longer one is read as plain text."""


def text_of(raw: str) -> str:
    """Return the text in a JSON or logfmt record, or the line itself where it is none.

    journald gives bytes that are no plain text, such as progress bars, as a list of numbers.
    """
    if not raw.startswith(("{", "time=")) or len(raw) > MAX_RECORD:
        return raw
    if (record := _LOGFMT.match(raw)) is not None:
        return record.group(1).replace('\\"', '"').replace("\\\\", "\\")
    try:
        fields = json.loads(raw)
    except (ValueError, RecursionError):
        return raw
    if not isinstance(fields, dict):
        return raw
    for field in _FIELDS:
        match fields.get(field):
            case str() as text:
                return text
            case [*numbers] if numbers and all(_is_byte(n) for n in numbers):
                return bytes(numbers).decode("utf-8", "replace")
            case _:
                pass
    return raw


def _is_byte(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 256
