# SPDX-License-Identifier: Apache-2.0
"""What an editor, a mail or a viewer puts before every line: quotation marks, numbers, a margin."""

from __future__ import annotations

import re
from itertools import pairwise

MOST = 9
"""Of ten lines so many must have it."""

_QUOTE = re.compile(r"(?:> ?){1,4}")
_NUMBER = re.compile(r"\s{0,9}(?:[\w./-]{1,100}:)?(\d{1,7})(?:[:|)\t] ?| {1,2}|$)")
_POD = re.compile(
    r"\A(?P<pod>[a-z0-9](?:[a-z0-9.-]{0,200}[a-z0-9])?) (?:\u203a )?"
    r"(?P<container>[a-z0-9](?:[a-z0-9-]{0,60}[a-z0-9])?) (?=\S|\s)"
)
_OF_A_SET = re.compile(r"-[a-z0-9]{5,10}-[a-z0-9]{5}$|-\d{1,4}$")
"""How Kubernetes ends the name of a pod of a deployment or of a set."""

MAX_PODS = 16
_HEADING = re.compile(r"\A[\s-]{0,99}[\w.-]{1,60}:(?: [|>][-+]?\d?)?\s*$")
_MARGIN = re.compile(r"\s*")


def without_quotes(lines: list[str]) -> list[str]:
    """Return the lines without the marks of a quotation that stand before all of them."""
    marked = [_QUOTE.match(line) for line in lines]
    if not _most(marked, lines) or sum(found is not None for found in marked) < 1:
        return lines
    return [
        line[found.end() :] if found is not None else line
        for line, found in zip(lines, marked, strict=True)
    ]


def without_numbers(lines: list[str]) -> list[str]:
    """Return the lines without their numbers, where they are counted one by one."""
    found = [_NUMBER.match(line) for line in lines]
    counted = [(int(one.group(1)), one) for one in found if one is not None]
    if len(counted) < 3 or not _most(found, lines):
        return lines
    steps = sum(after[0] - before[0] == 1 for before, after in pairwise(counted))
    if steps * 10 < (len(counted) - 1) * MOST:
        return lines
    margin = min(_blanks_behind(one) for _, one in counted)
    return [
        line if one is None else line[one.end() - margin_of(one) + min(margin, margin_of(one)) :]
        for line, one in zip(lines, found, strict=True)
    ]


def margin_of(number: re.Match[str]) -> int:
    """Return how many blanks the match of a number has at its end."""
    return len(number.group()) - len(number.group().rstrip(" "))


def _blanks_behind(number: re.Match[str]) -> int:
    return (
        margin_of(number) if number.group().rstrip(" ") and number.end() < len(number.string) else 9
    )


def without_margin(lines: list[str]) -> list[str]:
    """Return the lines of a block without the margin that all have, as of a YAML block.

    Headings that stand before the block are no part of it. A frame keeps the blanks of its own.
    """
    first = next((n for n, line in enumerate(lines) if _HEADING.match(line) is None), 0)
    block = [line for line in lines[first:] if line.strip()]
    if not block:
        return lines
    margins = [len(line) - len(line.lstrip(" ")) for line in block]
    margin = min(margins)
    own = (
        2
        if all(
            line.lstrip().startswith(('File "', "|"))
            for line, m in zip(block, margins, strict=True)
            if m == margin
        )
        else 0
    )
    cut = margin - own
    return [line[cut:] for line in lines[first:]] if cut > 0 else lines


def with_pods(lines: list[str]) -> list[str]:
    """Return stern's lines ("POD CONTAINER line") as `kubectl logs --prefix` has them."""
    found = [_POD.match(line) for line in lines]
    names = {one["pod"] for one in found if one is not None}
    pods = all(_OF_A_SET.search(name) for name in names)
    if not names or len(names) > MAX_PODS or not pods or not _most(found, lines):
        return lines
    return [
        f"[pod/{one['pod']}/{one['container']}] {line[one.end() :]}" if one is not None else line
        for line, one in zip(lines, found, strict=True)
    ]


def _most(found: list[re.Match[str] | None], lines: list[str]) -> bool:
    said = sum(bool(line.strip()) for line in lines)
    return sum(one is not None for one in found) * 10 >= said * MOST
