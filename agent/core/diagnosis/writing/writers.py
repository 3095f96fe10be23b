# SPDX-License-Identifier: Apache-2.0
"""The patterns of writers.toml, by which whose words a line can hold is told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields

from agent.core.patterns import compile_pattern
from agent.core.record import dataclass


class WritersError(ValueError):
    """Tells what of writers.toml cannot be used and why."""


@dataclass(frozen=True, slots=True)
class Writers:
    """The patterns of writers.toml."""

    access: re.Pattern[str]
    quoting_modules: re.Pattern[str]
    quoting_words: re.Pattern[str]
    engine_modules: re.Pattern[str]
    api_server: re.Pattern[str]
    request_head: re.Pattern[str]
    request_frames: re.Pattern[str]
    engine_frames: re.Pattern[str]
    engine_exceptions: re.Pattern[str]
    native: re.Pattern[str]
    runtime: re.Pattern[str]


def writers_from_table(table: Mapping[str, object]) -> Writers:
    """Build the patterns; raises WritersError naming the entry."""
    names = [f.name for f in fields(Writers)]
    if set(table) != set(names):
        raise WritersError(f"[writers] has {sorted(table)}, and must have {sorted(names)}")
    try:
        return Writers(**{name: compile_pattern(str(table[name])) for name in names})
    except re.error as error:
        raise WritersError(f"[writers]: {error}") from error


def is_access(writers: Writers, text: str) -> bool:
    """Tell whether the line is uvicorn's or a proxy's of a request."""
    spoken_of = ' "' in text or text.startswith("TRACE: ")
    return spoken_of and writers.access.search(text) is not None
