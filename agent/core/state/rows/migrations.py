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
    if "held" not in row:
        row = {**row, "held": _held(row)}
    return row


def _held(row: dict[str, Any]) -> dict[str, Any] | None:
    """Return the hold that several flags told of, None for a service that is not held.

    What ends it is not told by such a row; the hold itself knows.
    """
    fetch = row.get("fetch")
    if not isinstance(fetch, dict):
        fetch = {}
    holders = {
        "foreign": row.get("foreign"),
        "card": row.get("held_for_card"),
        "driver": row.get("held_for_driver"),
        "plan": row.get("held_for_plan"),
        "fetch": fetch.get("held"),
        "failure": row.get("phase") == "held",
    }
    by = next((name for name, holds in holders.items() if holds), None)
    if by is None:
        return None
    return {
        "by": by,
        "why": str(row.get("reason", "")).removeprefix("held: "),
        "what_to_do": row.get("what_to_do", ""),
        "card": row.get("held_for_card", ""),
        "wants_bytes": fetch.get("wants_bytes", 0),
    }
