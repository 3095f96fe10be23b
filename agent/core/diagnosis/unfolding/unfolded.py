# SPDX-License-Identifier: Apache-2.0
"""The lines of a log, whatever form it was pasted or exported in."""

from __future__ import annotations

from agent.core.diagnosis.unfolding.containers import (
    is_record,
    items_of,
    rows_in_json,
    spelled_out,
)
from agent.core.diagnosis.unfolding.order import is_newest_first
from agent.core.diagnosis.unfolding.paragraphs import broken_up
from agent.core.diagnosis.unfolding.prefixes import (
    with_pods,
    without_margin,
    without_numbers,
    without_quotes,
)
from agent.core.diagnosis.unfolding.tables import has_heading, rows_in_csv, rows_in_markdown
from agent.core.diagnosis.unfolding.widths import joined

MAX_TEXT = 2 * 1024 * 1024
"""Characters of a text that is looked at as a whole: what is longer is a log as it was written."""


def shows_a_form(beginning: str) -> bool:
    """Tell whether a text that begins so is to be looked at as a whole: it is no log as written."""
    if beginning.startswith("\ufeff"):
        return True
    first = beginning.lstrip()[:1]
    alone = len(lines_of(beginning)) == 1
    if first in ("[", "{") and (alone or not is_record(beginning.lstrip().partition("\n")[0])):
        return not beginning.startswith(("[20", "[pod/", "[rank"))
    return has_heading(beginning) or _unfolded(beginning) is not None


def unfolded(text: str) -> str:
    """Return a text as the lines of a log, oldest first, each with its end; as it is if it is one.

    Each form must show itself all over the text.
    """
    found = _unfolded(text.removeprefix("\ufeff"))
    return text.removeprefix("\ufeff") if found is None else "".join(f"{x}\n" for x in found)


def _unfolded(text: str) -> list[str] | None:
    """Return the lines of a log in another form, None of a text that is a log as written."""
    table = rows_in_csv(text)
    if table is not None:
        if is_newest_first([when for when, _ in table]):
            table.reverse()
        return [line for _, row in table for line in row.split("\n")]
    rows = rows_in_json(text)
    if rows is not None and is_newest_first(rows):
        rows.reverse()
    written = lines_of(text)
    lines = without_quotes(written if rows is None else rows)
    lines = rows_in_markdown(lines) or items_of(lines) or lines
    lines = spelled_out(lines) or lines
    lines = without_margin(without_numbers(lines))
    if rows is None and is_newest_first(lines):
        lines = lines[::-1]
    lines = broken_up(with_pods(joined(lines)))
    return None if lines == written else lines


def lines_of(text: str) -> list[str]:
    """Return the lines of a text, without what Windows ends them with."""
    if not text:
        return []
    lines = text.removesuffix("\n").split("\n")
    return [line.removesuffix("\r") for line in lines]
