# SPDX-License-Identifier: Apache-2.0
"""Tells one night as it happened: python -m tests.nights SEED.

A night that breaks a promise is told with as few faults as still break it. The first lines are that
night as Python: put them into tests/unit/nights/test_nights_found.py, and the seed is a test.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial

from tests.nights.night import Night, under_llmagent, world_of
from tests.nights.telling import fewest_that_break, tell


def main(seed: int) -> None:
    night = Night.of(seed)
    faults = fewest_that_break(
        night.faults, lambda some: under_llmagent(replace(night, faults=some))
    )
    night = replace(night, faults=faults)
    print(f"Night({night.seed}, (")
    for fault in night.faults:
        print(f"    {fault.as_python()},")
    print("))\n")
    for service, policy in world_of(night).policies.items():
        asked, most = policy.settings, policy.recovery.max_starts_per_hour
        print(f"{service}: utilization {asked.gpu_memory_utilization}, length", asked.max_model_len)
        print(f"at most {most} starts an hour")
    tell(partial(under_llmagent, night))


main(int(sys.argv[1]))
