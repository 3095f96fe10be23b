# SPDX-License-Identifier: Apache-2.0
"""How long something takes, told as a multiple of a piece of work measured beside it.

A machine of CI is at times ten times slower than the one before, so that no number of seconds can
be asserted. What can be is a ratio: the yardstick is matching of the kind that is judged, done in
the same process within the same moment, and slows down with it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

_YARDSTICK = re.compile(r"(?:a{0,400})b")
_ON = "a" * 32_768
QUICK = 0.02
"""CPU seconds of the yardstick on an idle core of 2024. What takes less of them is not compared."""
TRIES = 7


def cpu_seconds(call: Callable[[], object]) -> float:
    """Return the CPU time of one call in this thread."""
    began = time.thread_time()
    call()
    return time.thread_time() - began


def yardsticks(call: Callable[[], object], at_most: float) -> float:
    """Return how many yardsticks a call takes, at its best of a few tries.

    It is tried until it takes `at_most`: one slow moment of a busy machine is no fault of the code.
    """
    least = cpu_seconds(call) / QUICK
    for _ in range(TRIES):
        if least <= at_most:
            break
        yardstick = cpu_seconds(lambda: _YARDSTICK.search(_ON))
        least = min(least, cpu_seconds(call) / yardstick)
    return least
