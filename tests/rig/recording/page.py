# SPDX-License-Identifier: Apache-2.0
"""Writes what `make demo` shows into docs/demo.md: the demo piped into this module.

The words around the recording stay; the day is told, so that its age can be checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from tests.rig.paths import REPO

PAGE: Final = REPO / "docs/demo.md"
WIDTH: Final = 140
_RECORDED = re.compile(r"Recorded on \d{4}-\d\d-\d\d")
_FENCE = re.compile(r"```text\n.*?```", re.DOTALL)


def recorded(page: str, lines: Iterable[str], day: str) -> str:
    """Return the page with these lines as its recording; ValueError where it has no place."""
    cut = (line if len(line) <= WIDTH else f"{line[: WIDTH - 3]}..." for line in lines)
    text = "\n".join(cut).strip("\n")
    page, days = _RECORDED.subn(f"Recorded on {day}", page)
    page, fences = _FENCE.subn(lambda _: f"```text\n{text}\n```", page)
    if (days, fences) != (1, 1):
        raise ValueError(f'the page has "Recorded on" {days} times and a recording {fences} times')
    return page
