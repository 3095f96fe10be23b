# SPDX-License-Identifier: Apache-2.0
"""Rows of state that an earlier release stored, brought to the form of this one.

A field that moves gets a line here, so that an upgrade forgets nothing; fields that only go need
none, as what is unknown is ignored.
"""

from __future__ import annotations

from typing import Any

LEARNED = (
    *("learned_for", "overrides", "bounds", "probes"),
    *("spent", "attempts", "refetch"),
)
"""Fields that stood beside the others until they became a group of their own."""


def service_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return the stored row of a service as `decode(ServiceState, ...)` reads it."""
    if "learned" not in row:
        row = {**row, "learned": {name: row[name] for name in LEARNED if name in row}}
    return row
