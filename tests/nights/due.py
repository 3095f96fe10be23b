# SPDX-License-Identifier: Apache-2.0
"""When a tick can matter next, so that a night need not tick every second.

The daemon ticks every second. Here a tick comes when something that decide waits for is due, and
now and then anyway: a limit that is not known here is met late by no more than that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from agent.core.judges.alive import start_progress as startup
from agent.core.judges.alive.verification import VERIFY_AGAIN_SECONDS, VERIFY_LOST_SECONDS
from agent.core.judges.service.lifecycle import GRACE_SECONDS, LOG_SECONDS
from agent.core.settings.service import ServicePolicy
from agent.core.state.host import HostState
from agent.core.state.phases import Phase
from agent.core.state.service import ServiceState

QUIET_SECONDS = 600.0
RESTLESS_SECONDS = 30.0
"""Ticks this often while a service waits for what has no time of its own."""

QUIET = (Phase.STARTING, Phase.SERVING, Phase.HELD, Phase.STOPPED)
JUST_AFTER = 0.01


def next_tick(
    state: HostState, policies: dict[str, ServicePolicy], now: float, busy: frozenset[str]
) -> float:
    """Return the agent time of the next tick.

    Of the `busy` services each poll would show new tokens, so that none are ever missed.
    """
    pauses = [p.until for p in (state.pause, *(s.pause for s in state.services.values())) if p]
    soonest = min((until for until in pauses if until > now), default=math.inf)
    quiet = all(_is_quiet(s, now) for s in state.services.values())
    soonest = min(soonest, now + (QUIET_SECONDS if quiet else RESTLESS_SECONDS))
    for s in state.services.values():
        policy = policies.get(s.name)
        if policy is not None:
            for due in _due(s, policy, busy=s.name in busy):
                if now < due + JUST_AFTER < soonest:
                    soonest = due + JUST_AFTER
    return soonest


def _is_quiet(s: ServiceState, now: float) -> bool:
    waits = s.phase is Phase.WAITING and s.retry_at > now
    steered = s.planned_restart is not None and s.planned_restart.not_before <= now
    return s.asked is None and not steered and (s.phase in QUIET or waits)


def _due(s: ServiceState, policy: ServicePolicy, *, busy: bool) -> Iterator[float]:
    recovery, live = policy.recovery, s.live
    if s.planned_restart is not None:
        yield s.planned_restart.not_before
    if s.asked is not None:
        patience = recovery.stop_seconds + policy.settings.shutdown_timeout + GRACE_SECONDS
        yield s.asked.at + patience
    match s.phase:
        case Phase.WAITING:
            yield s.retry_at
        case Phase.EXAMINING:
            yield s.since + LOG_SECONDS
        case Phase.STARTING:
            yield live.activity_at + startup.limit(recovery, live.engine_phase)
        case Phase.VERIFYING:
            yield live.verify_at + (
                VERIFY_LOST_SECONDS if live.verify_pending else VERIFY_AGAIN_SECONDS
            )
        case Phase.SERVING:
            if not busy:
                still = max(live.tokens_at, live.canary_at)
                yield still + recovery.hang_seconds
                yield still + recovery.canary_every_seconds
            for engine in live.engines.values():
                yield max(engine.moved_at, engine.asked_at) + recovery.hang_seconds
                yield max(engine.moved_at, engine.asked_at) + recovery.canary_every_seconds
            if live.canary_pending:
                yield live.canary_at + 2 * live.canary_seconds
            if not s.settled:
                yield s.since + recovery.settle_seconds
        case _:
            pass
