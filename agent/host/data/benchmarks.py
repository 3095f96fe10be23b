# SPDX-License-Identifier: Apache-2.0
"""Keeps the results of benchmarks: one JSON file a run, the first of a kind is the baseline."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agent.core.bench.measure import Load, Point


def save(directory: Path, name: str, key: Mapping[str, Any], points: Sequence[Point]) -> Path:
    """Write a result; `key` says what was measured. Raises OSError when that cannot be done."""
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    file = directory / f"{name}.json"
    document = {"key": dict(key), "points": [asdict(point) for point in points]}
    beside = file.with_suffix(".new")
    beside.write_text(json.dumps(document, indent=2))
    beside.replace(file)
    return file


def baseline(directory: Path, key: Mapping[str, Any]) -> tuple[Point, ...]:
    """Return the points of the oldest result with this key; what cannot be read is passed over."""
    for file in sorted(directory.glob("*.json")):
        try:
            document = json.loads(file.read_bytes())
            if document["key"] == dict(key):
                return tuple(_point(entry) for entry in document["points"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return ()


def _point(entry: Mapping[str, Any]) -> Point:
    return Point(**{**entry, "load": Load(**entry["load"])})
