# SPDX-License-Identifier: Apache-2.0
"""Tells one night of a group as it happened: python -m tests.nights.groups SEED.

A night that breaks a promise is told with as few faults as still break it. The first line is that
night as Python, to be kept as a test.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial

from tests.nights.groups.night import GroupNight, under_llmagent
from tests.nights.telling import fewest_that_break, tell


def main(seed: int) -> None:
    night = GroupNight.of(seed)
    faults = fewest_that_break(
        night.faults, lambda some: under_llmagent(replace(night, faults=some))
    )
    night = replace(night, faults=faults)
    print(f"{night}\n")
    tell(partial(under_llmagent, night))


main(int(sys.argv[1]))
