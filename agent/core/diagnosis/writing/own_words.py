# SPDX-License-Identifier: Apache-2.0
"""What may stand before vLLM's own words in one line, and what shows that they are quoted."""

from __future__ import annotations

import re

_NAMES = re.compile(
    r"(?:\S{1,400}\.py:\d{1,9}:)? {0,40}(?:RuntimeError: Worker failed with error ')?"
    r"(?:\[[\w .-]{1,40}\] {0,9}|(?:[\w.]{1,200}|Engine \d{1,4}): {1,9}){0,5}"
    r"(?:(?<=Error: )[^'\"`\[{]{0,200}|\w{1,60}(?:Error|Exception)\(['\"]|(?:\w{1,60}\.){0,9})"
)
"""What may stand before words of vLLM's own: where Python warns, the words with which it quotes its
own worker's error, a tag, uvicorn's level, an engine's number, the names of exceptions, and what
an exception says before it quotes anything."""

_EXCEPTION = re.compile(r"(?<![\w.])[A-Za-z_][\w.]{0,120}(?=: )")
"""What may be the name of an exception before its words."""

_PYTHON_WARNING = re.compile(
    r"^(?!\S{1,400}/resource_tracker\.py:)\S{1,400}\.py:\d{1,9}: \w{1,60}Warning: "
)
"""A library's word on the data it was given; Python's own is of processes that are gone."""


def is_a_librarys_warning(text: str) -> bool:
    """Tell whether a line is what Python prints of a warning of a library."""
    return _PYTHON_WARNING.match(text) is not None


def names_a_requests(before: str, engines: re.Pattern[str]) -> bool:
    """Tell whether an exception is named that tells of a request; `engines` are the others."""
    return any(engines.fullmatch(name) is None for name in _EXCEPTION.findall(before))


def may_stand_before(before: str) -> bool:
    """Tell whether vLLM's own words can follow."""
    return _NAMES.fullmatch(before) is not None
