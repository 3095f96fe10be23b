# SPDX-License-Identifier: Apache-2.0
"""Tells one night as it happened: python -m tests.nights SEED.

A night that breaks a promise is told with as few faults as still break it. The first lines are that
night as Python: put them into tests/unit/nights/test_nights_found.py, and the seed is a test.
"""

from __future__ import annotations

import sys
import traceback

from tests.nights.night import EVENING, Night, under_llmagent, what_breaks, world_of
from tests.nights.promises import BrokenPromiseError


def main(seed: int) -> None:
    night = Night.of(seed)
    promise = what_breaks(night)
    if promise is not None:
        night = night.smallest(lambda shorter: what_breaks(shorter) == promise)
    print(f"Night({night.seed}, (")
    for fault in night.faults:
        print(f"    {fault.as_python()},")
    print("))\n")
    for service, policy in world_of(night).policies.items():
        asked, most = policy.settings, policy.recovery.max_starts_per_hour
        print(f"{service}: utilization {asked.gpu_memory_utilization}, length", asked.max_model_len)
        print(f"at most {most} starts an hour")
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
