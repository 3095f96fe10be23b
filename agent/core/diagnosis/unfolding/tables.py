# SPDX-License-Identifier: Apache-2.0
"""A log as a table: rows of CSV as services export them, or of Markdown."""

from __future__ import annotations

import csv
import re

from agent.core.diagnosis.unfolding.containers import FIELDS

_NAMES = frozenset(name.casefold() for name in FIELDS)
_TIMES = re.compile(r"(?i)@?(?:time(?:stamp)?|date|ts)\b")
_RULE = re.compile(r"\|(?:\s{0,9}:?-{2,80}:?\s{0,9}\|){1,12}$")
MAX_FIELD = 1_000_000
MAX_COLUMNS = 12
LONGEST_HEADING = 400


def has_heading(text: str) -> bool:
    """Tell whether a text begins with the heading of a CSV, one column of which is the line."""
    return _column_of_lines(_names(text)) is not None


def rows_in_csv(text: str) -> list[tuple[str, str]] | None:
    """Return (time, line) of each row of a CSV with a heading; None of any other text.

    The heading names the column of the line; its other columns are the time, or nobody's words.
    """
    names = _names(text)
    line, width = _column_of_lines(names), len(names)
    if line is None:
        return None
    when = next((n for n, name in enumerate(names) if _TIMES.match(name)), None)
    csv.field_size_limit(MAX_FIELD)
    try:
        rows = [row for row in csv.reader(text.splitlines(keepends=True), strict=True) if row][1:]
    except csv.Error:
        return None
    fit = [row for row in rows if len(row) == width]
    if not fit or len(fit) * 10 < len(rows) * 9:
        return None
    return [("" if when is None else row[when], row[line]) for row in fit]


def _names(text: str) -> list[str]:
    head, _, _ = text.lstrip("\n").partition("\n")
    return [name.strip().strip('"').casefold() for name in head[:LONGEST_HEADING].split(",")]


def _column_of_lines(names: list[str]) -> int | None:
    found = [place for place, name in enumerate(names) if name in _NAMES]
    return found[0] if 2 <= len(names) <= MAX_COLUMNS and len(found) == 1 else None


def rows_in_markdown(lines: list[str]) -> list[str] | None:
    """Return the lines in the last column of a table of Markdown; None of any other text."""
    said = [line.strip() for line in lines if line.strip()]
    rows = [line for line in said if line.startswith("|") and line.endswith("|")]
    if len(rows) < 2 or len(rows) * 10 < len(said) * 9:
        return None
    rule = next((n for n, line in enumerate(rows[:4]) if _RULE.match(line) is not None), None)
    columns = rows[rule].count("|") - 1 if rule is not None else 1
    cells = [row[1:-1].split("|", columns - 1)[-1] for row in rows[(rule or -1) + 1 :]]
    # One blank stands before and behind what a cell holds; what is more belongs to it.
    return [cell.removeprefix(" ").rstrip().replace("\\|", "|") for cell in cells]
