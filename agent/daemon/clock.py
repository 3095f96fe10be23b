# SPDX-License-Identifier: Apache-2.0
"""Agent time: seconds since the epoch that never jump while the agent runs."""

from __future__ import annotations

import time
from collections.abc import Callable

from agent.core.measures import HOUR_SECONDS

Clock = Callable[[], float]


def seconds_since_midnight() -> float:
    """Return the local time of day."""
    now = time.localtime()
    return now.tm_hour * HOUR_SECONDS + now.tm_min * 60.0 + now.tm_sec


def wall_clock_is_ahead_by(clock: Clock) -> float:
    """Return what to add to an agent time before it is shown to a person or to Prometheus, in s.

    0 until the wall clock is stepped, as by NTP on a host that booted with a wrong clock.
    """
    return time.time() - clock()


def booted_at(clock: Clock) -> float:
    """Return the agent time at which the kernel's clock of this boot began.

    Of two processes in one boot these differ by as much as the wall clock was set in between.
    """
    return clock() - time.clock_gettime(time.CLOCK_BOOTTIME)


def agent_clock() -> Clock:
    """Return a clock that starts at the wall clock and goes on monotonically.

    It counts while the host sleeps (CLOCK_BOOTTIME) and ignores every later step of the wall
    clock, so that deadlines hold across NTP's first correction.
    """
    offset = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return lambda: offset + time.clock_gettime(time.CLOCK_BOOTTIME)
