# SPDX-License-Identifier: Apache-2.0
"""Tells one night of a group as it happened: python -m tests.nights.groups SEED.

A night that breaks a promise is told with as few faults as still break it. The first line is that
night as Python, to be kept as a test.
"""

from __future__ import annotations

import sys
import traceback

from tests.nights.groups.night import EVENING, GroupNight, under_llmagent, what_breaks
from tests.nights.promises import BrokenPromiseError


def main(seed: int) -> None:
    night = GroupNight.of(seed)
    promise = what_breaks(night)
    if promise is not None:
        night = night.smallest(lambda shorter: what_breaks(shorter) == promise)
    print(f"{night}\n")
    try:
        under_llmagent(night, _tell)
    except BrokenPromiseError as broken:
        print(broken)
        if broken.__cause__ is not None:
            traceback.print_exception(broken.__cause__, limit=-12)


def _tell(now: float, what: str) -> None:
    hours, seconds = divmod(now - EVENING, 3600)
    print(f"{int(hours):2}:{int(seconds // 60):02}:{seconds % 60:04.1f} {what}")


main(int(sys.argv[1]))
