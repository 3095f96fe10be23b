# SPDX-License-Identifier: Apache-2.0
"""Rows of a log by their times: what was exported newest first is turned."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

LOOKED_AT = 200
"""Characters at either end of a row in which its time stands."""

_FORMS = (
    re.compile(r"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"),
    re.compile(r"[A-Z][a-z]{2} [ \d]\d(?:, \d{4} @)? \d\d:\d\d:\d\d(?:\.\d{1,9})?"),
    re.compile(r"(?<!\d)1[5-9]\d{8}(?:\d{3}|\d{6}|\d{9})?(?!\d)"),
    re.compile(r"\b\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,9})?"),
)
"""ISO 8601, syslog and Kibana, seconds since 1970 and parts of them, and vLLM's own stamp."""

MANY_TIMES = 4
"""As often as this must time go back for once that it goes on."""

LEAST = 2


def is_newest_first(rows: Sequence[str]) -> bool:
    """Tell whether the times of rows go back, as an export has them that begins with the newest."""
    for form in _FORMS:
        times = [found for row in rows if (found := _time_of(row, form)) is not None]
        if len(times) * 2 > len(rows):
            back = sum(after < before for before, after in pairwise(times))
            on = sum(after > before for before, after in pairwise(times))
            return back >= min(LEAST, len(times) - 1) and back > 0 and back >= MANY_TIMES * on
    return False


def _time_of(row: str, form: re.Pattern[str]) -> str | None:
    found = form.search(row, 0, LOOKED_AT) or form.search(row, max(0, len(row) - LOOKED_AT))
    return None if found is None else found.group().replace(",", ".")
