# SPDX-License-Identifier: Apache-2.0
"""Tables of plans for a person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agent.cli.planning.tables import Row

Columns = Sequence[tuple[str, str]]

CARDS: Columns = (
    ("card", "card"),
    ("count", "n"),
    ("memory_gib", "GiB each"),
    ("verdict", "verdict"),
    ("largest_max_model_len", "largest context"),
    ("max_concurrency", "requests"),
    ("decode_roof_tokens_per_second", "tokens/s at most"),
)
FORMATS: Columns = (
    ("format", "weights"),
    ("kv_cache_dtype", "KV cache"),
    ("weights_gib", "GiB of weights"),
    ("available_kv_gib", "GiB for KV"),
    ("kv_tokens", "tokens"),
    ("max_concurrency", "requests"),
    ("largest_max_model_len", "largest context"),
    ("verdict", "verdict"),
    ("reason", "why"),
)
SWEEP: Columns = (
    ("context", "max_model_len"),
    ("max_concurrency", "requests at once"),
    ("kv_tokens", "tokens"),
    ("verdict", "verdict"),
    ("reason", "why"),
)
USERS: Columns = (("users", "requests at once"), ("longest", "tokens for each"))


def table(rows: Iterable[Row], columns: Columns) -> str:
    """Return aligned columns; numbers stand to the right."""
    cells = [[head for _, head in columns]]
    cells += [[_told(row, key) for key, _ in columns] for row in rows]
    widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if at == 0 or not _is_number(cell) else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    )


def first_that_fit(rows: Iterable[Row]) -> list[Row]:
    """Leave of each card the counts up to the first that fits, without those that do not."""
    found: list[Row] = []
    done: set[object] = set()
    hopeless: dict[object, Row] = {}
    for row in rows:
        card = row["card"]
        if card in done:
            continue
        if row["verdict"] == "does not fit":
            hopeless[card] = row
            continue
        found.append(row)
        hopeless.pop(card, None)
        if row["verdict"] == "fits":
            done.add(card)
    return [*found, *(row for card, row in hopeless.items() if card not in done)]


def _told(row: Row, key: str) -> str:
    """A row that fits has its reason in its numbers."""
    return "" if key == "reason" and row["verdict"] == "fits" else _cell(row.get(key))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.2f}".rstrip("0").rstrip(".")
    return f"{value:,}" if isinstance(value, int) else str(value)


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "", 1).replace("-", "", 1).isdecimal() or cell == "-"
