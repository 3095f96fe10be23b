# SPDX-License-Identifier: Apache-2.0
"""What a foreign document should hold at a place, and nothing where it holds something else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def rows(value: object) -> list[Any]:
    """Return a list, empty for anything else."""
    return value if isinstance(value, list) else []


def table(value: object) -> Mapping[str, Any]:
    """Return a table, empty for anything else."""
    return value if isinstance(value, dict) else {}
