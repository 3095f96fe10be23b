# SPDX-License-Identifier: Apache-2.0
"""[notify]: who hears of it, how much, and when."""

from __future__ import annotations

import re

from agent.config.values import (
    Keys,
    Mistake,
    WrongValueError,
    as_toml,
    number,
    one_of,
    plain_path_or_nothing,
    read_table,
    text,
    window,
)
from agent.core.measures import DAY_SECONDS, HOUR_SECONDS
from agent.core.settings.notify import Notify, Severity

_TIME = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")


def _time_of_day(value: object) -> int:
    """Read a time of day in local time, "08:00"."""
    found = _TIME.fullmatch(text(value))
    if not found:
        raise WrongValueError(f'{as_toml(value)} is not "HH:MM", as "08:00"')
    return int(found[1]) * int(HOUR_SECONDS) + int(found[2]) * 60


def _file_of_urls(value: object) -> str:
    """Read the path of a file; an address in its place would be readable for everyone."""
    if isinstance(value, str) and "://" in value:
        raise WrongValueError("must be the path of a file (mode 0600) that holds the addresses")
    return plain_path_or_nothing(value)


KEYS: Keys = {
    "urls_file": _file_of_urls,
    "least": one_of(*(severity.value for severity in Severity)),
    "quiet": window,
    "digest": _time_of_day,
    "after_seconds": number(30, HOUR_SECONDS),
    "dead_mans_switch_file": _file_of_urls,
    "dead_mans_switch_seconds": number(60, DAY_SECONDS),
}


def read_notify(raw: object, mistakes: list[Mistake]) -> Notify:
    """Read the table; every mistake is noted."""
    values = read_table(raw, ("notify",), KEYS, mistakes)
    if "least" in values:
        values["least"] = Severity(values["least"])
    return Notify(**values)
