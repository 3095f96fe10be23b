# SPDX-License-Identifier: Apache-2.0
"""Tells a night as it happened, and finds the fewest faults that break what it broke."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import TypeVar

from tests.nights.clockwork import EVENING
from tests.nights.promises import BrokenPromiseError

Fault = TypeVar("Fault")


def what_breaks(live: Callable[[], object]) -> str | None:
    """Return the name of the promise that a night breaks, None where all are kept."""
    try:
        live()
    except BrokenPromiseError as broken:
        return str(broken).partition(":")[0]
    return None


def fewest(
    faults: tuple[Fault, ...], breaks: Callable[[tuple[Fault, ...]], bool]
) -> tuple[Fault, ...]:
    """Return as few of the faults as still break what all of them break."""
    for number in range(len(faults)):
        fewer = faults[:number] + faults[number + 1 :]
        if breaks(fewer):
            return fewest(fewer, breaks)
    return faults


def fewest_that_break(
    faults: tuple[Fault, ...], live: Callable[[tuple[Fault, ...]], object]
) -> tuple[Fault, ...]:
    """Return the fewest faults whose night breaks the same promise; all where none is broken."""
    promise = what_breaks(lambda: live(faults))
    if promise is None:
        return faults
    return fewest(faults, lambda fewer: what_breaks(lambda: live(fewer)) == promise)


def tell(live: Callable[[Callable[[float, str], None]], object]) -> None:
    """Print what happens in a night, and at its end the promise that it breaks, if any."""
    try:
        live(_tell)
    except BrokenPromiseError as broken:
        print(broken)
        if broken.__cause__ is not None:
            traceback.print_exception(broken.__cause__, limit=-12)


def _tell(now: float, what: str) -> None:
    hours, seconds = divmod(now - EVENING, 3600)
    print(f"{int(hours):2}:{int(seconds // 60):02}:{seconds % 60:04.1f} {what}")
