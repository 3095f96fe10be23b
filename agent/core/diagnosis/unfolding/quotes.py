# SPDX-License-Identifier: Apache-2.0
"""Where somebody is quoted in a line: what looks like a break there is none of the log's."""

from __future__ import annotations

import re

_OPENS = re.compile(r"(?<![\w)\]}'\"])(['\"])(?=\S)")
LONGEST = 20_000
"""Characters of a quotation that has no end in the line."""


def quoted_in(line: str) -> list[tuple[int, int]]:
    """Return (begin, end) of each quotation in a line.

    vLLM quotes a prompt as Python shows a text: a quotation mark in it that would end it has a
    backslash before it.
    """
    found: list[tuple[int, int]] = []
    at = 0
    while (opens := _OPENS.search(line, at)) is not None:
        end = opens.end()
        while (end := line.find(opens[1], end)) >= 0 and line[end - 1] == "\\":
            end += 1
        at = end + 1 if end >= 0 else min(len(line), opens.end() + LONGEST)
        found.append((opens.start(), at))
    return found


def outside(quoted: list[tuple[int, int]], place: int) -> bool:
    """Tell whether a place is in none of the quotations."""
    return not any(begin < place < end for begin, end in quoted)
