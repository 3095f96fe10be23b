# SPDX-License-Identifier: Apache-2.0
"""Which lines of the driver's are one error, and how often a code came on a card."""

from __future__ import annotations

from agent.core.judges.turn import Turn
from agent.core.measures import DAY_SECONDS
from agent.core.state.card import XidRecord
from agent.core.state.observations import XidSeen

STORM_SECONDS = 10.0
"""One fault prints dozens of lines: within this time they are one incident."""

REPLAY_SECONDS = 60.0
"""How far the kernel log has been read is marked every 30 s."""

SAME_SECONDS = 0.001

KEPT_SECONDS = 7 * DAY_SECONDS
KEPT_INCIDENTS = 20


def counted_before(turn: Turn, seen: XidSeen, record: XidRecord) -> bool:
    """Tell whether a new agent process reads what the last one had read but not marked as read."""
    young = turn.at - turn.started_at < REPLAY_SECONDS
    return young and seen.logged_at <= record.last_at + SAME_SECONDS


def told_twice(seen: XidSeen, record: XidRecord) -> bool:
    """Tell whether the kernel log and NVML have told of the same error.

    NVML has fewer of them, so one from there counts only when the log is silent about its code.
    """
    if abs(seen.logged_at - record.last_at) > STORM_SECONDS:
        return False
    return record.unlogged == 0 if seen.from_nvml else record.unlogged > 0


def counted(record: XidRecord, seen: XidSeen, *, is_new: bool) -> XidRecord:
    """Return the record with this error in it, as a new incident or as more of the last."""
    incidents, unlogged = record.incidents, record.unlogged
    if is_new:
        unlogged = 0
        kept = [t for t in incidents if t > seen.logged_at - KEPT_SECONDS]
        incidents = (*kept[-KEPT_INCIDENTS + 1 :], seen.logged_at)
    last_at = seen.logged_at if is_new else max(record.last_at, seen.logged_at)
    return XidRecord(record.count + 1, last_at, incidents, unlogged + seen.from_nvml)
