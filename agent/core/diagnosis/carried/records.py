# SPDX-License-Identifier: Apache-2.0
"""Log lines that came as records, one a line, from what stored or shipped them."""

from __future__ import annotations

import json
import re

_FIELDS = ("log", "MESSAGE", "message", "msg", "line", "textPayload", "Body", "body", "_raw")
"""Where the text is: Docker's json-file, journalctl -o json, log shippers, OpenTelemetry and
Splunk."""

_ORIGINS = (
    ("UNIT",),
    ("CONTAINER_NAME",),
    ("_SYSTEMD_UNIT",),
    ("kubernetes", "pod_name"),
    ("kubernetes", "pod", "name"),
    ("resource", "labels", "pod_name"),
    ("container_name",),
    ("attrs", "tag"),
    ("pod",),
    ("service",),
)
"""Where the writer is named: journald (systemd's own lines say whom they mean), docker's journald
and json-file drivers, Fluent Bit, Filebeat, Google Cloud."""

_SYSTEMD_ITSELF = "init.scope"
_UNFIT = re.compile(r"[^\w.-]")
LONGEST_NAME = 100

_LOGFMT = re.compile(r'time="?[^" ]+"? level=\w+ msg="((?:[^"\\]|\\.)*)"')
"""The text form of logrus, in which Docker's and Kubernetes' own tools write."""

_CSV = re.compile(r'"?\d{4}-\d\d-\d\d[T ][^",]{8,30}"?,"((?:[^"]|""){0,32768})"\s*$')
"""A row of time and line, as Grafana and CloudWatch export what was searched."""

_CURSOR = re.compile(r'"__CURSOR" ?: ?"[^"\n\\]{1,400}"')

MAX_RECORD = 262_144
"""Characters of a record that are parsed; a longer one is read as plain text."""


def text_of(raw: str) -> str:
    """Return the text in a JSON, CSV or logfmt record, or the line itself where it is none.

    A record that names its service has it before the text, as docker compose prints it:
    "vllm.service | text". journald gives bytes that are no plain text, such as progress bars, as a
    list of numbers.
    """
    if not raw.startswith(("{", "time=", '"2', "2")) or len(raw) > MAX_RECORD:
        return raw
    if raw[0] in '"2':
        row = _CSV.match(raw) if ',"' in raw[:60] else None
        return raw if row is None else row.group(1).replace('""', '"')
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
                return f"{_origin(fields)}{text}"
            case [*numbers] if numbers and all(_is_byte(n) for n in numbers):
                return f"{_origin(fields)}{bytes(numbers).decode('utf-8', 'replace')}"
            case {"stringValue": str() as text}:
                return f"{_origin(fields)}{text}"
            case _:
                pass
    match fields.get("values"):
        case [[str(), str() as text]]:
            return f"{_origin(fields)}{text}"
        case _:
            return raw


def without_cursors(text: str) -> str:
    """Return the records of `journalctl -o json` without their cursors, which nobody reads.

    It is the one thing in them that differs from line to line by more than numbers.
    """
    return _CURSOR.sub('"__CURSOR":""', text) if text.startswith("{") else text


def whole_log_in(raw: str) -> str | None:
    """Return the lines of a log that came as one JSON string, None for any other line."""
    raw = raw.strip()
    if not (raw.startswith('"') and raw.endswith('"')):
        return None
    try:
        text = json.loads(raw)
    except ValueError:
        return None
    return text if isinstance(text, str) else None


def _origin(fields: dict[str, object]) -> str:
    """Return "NAME | " where the record names the unit, container or pod that wrote it."""
    for path in _ORIGINS:
        value: object = fields
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, str) and value and value != _SYSTEMD_ITSELF:
            return f"{_UNFIT.sub('-', value)[:LONGEST_NAME]} | "
    return ""


def _is_byte(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 256
