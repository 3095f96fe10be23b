# SPDX-License-Identifier: Apache-2.0
"""What status.json shows of what operators asked for, and of how telling them goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.core.state.service import ServiceState
from agent.core.state.steering.wishes import Pause, pause_in_force
from agent.core.view.wishes import AskedView, NotifyView, PauseView

if TYPE_CHECKING:
    from agent.core.state.telling.outbox import Outbox  # loaded by who tells somebody


def wall(at: float, ahead: float) -> float:
    """Return an agent time as one since the epoch; 0 stays "never"."""
    return at + ahead if at else 0.0


def view_of_pauses(pauses: tuple[Pause | None, ...], now: float, ahead: float) -> PauseView | None:
    """Return the pause that ends last of those that are in force."""
    last = pause_in_force(pauses, now)
    if last is None:
        return None
    return PauseView(wall(last.since, ahead), wall(last.until, ahead), last.by)


def view_of_restart(s: ServiceState, ahead: float) -> AskedView | None:
    """Return the restart that is planned."""
    plan = s.planned_restart
    return None if plan is None else AskedView(str(plan), plan.by, wall(plan.not_before, ahead))


def view_of_drain(s: ServiceState, ahead: float) -> AskedView | None:
    """Return the drain that is under way."""
    drain = s.drain
    if drain is None:
        return None
    what = "stopped once no request runs or waits"
    return AskedView(what, drain.by, wall(drain.not_after, ahead))


def view_of_outbox(box: Outbox | None, ahead: float) -> NotifyView | None:
    """Return how telling people goes, None where nobody is told of anything."""
    if box is None:
        return None
    sent = wall(box.last_sent_at, ahead)
    unsent = len(box.messages)
    return NotifyView(unsent, sent, box.problem, box.given_up, box.live.ping_failed)
