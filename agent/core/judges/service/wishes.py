# SPDX-License-Identifier: Apache-2.0
"""What an operator has asked for and waits for its time: a pause's end, a restart, a drain.

Level-triggered as all else: what was recorded and not yet done is found again at each tick,
whatever happened to the agent in between.
"""

from __future__ import annotations

from dataclasses import replace

from agent.core.judges.cards import fitness
from agent.core.judges.driver.mismatch import mismatch
from agent.core.judges.turn import AGENT, Turn
from agent.core.measures import DAY_SECONDS, HOUR_SECONDS
from agent.core.state.phases import Phase, Then
from agent.core.state.service import Died, ServiceState
from agent.core.state.steering.wishes import PlannedRestart

FRESH_SECONDS = 15.0
"""How old the counters may be that say that no request runs and none waits."""

IDLE_SECONDS = 5.0
"""Without a token for so long: between two requests of one client nobody is idle."""

WINDOW_SECONDS = 2 * HOUR_SECONDS
"""A restart at a time of day that was not possible for so long is left out until the next day."""

LEAST_APART_SECONDS = DAY_SECONDS / 2
"""Of two restarts every day, on the night on which the clocks change too."""


def on_tick(turn: Turn, local_seconds: float | None) -> None:
    """Take the next step of what was asked for, on the host and on each service."""
    if turn.pause is not None and turn.at >= turn.pause.until:
        turn.pause = None
        turn.tell(AGENT, "resumed", "the pause of the host is over: llmagent acts again")
    for s in tuple(turn.services.values()):
        s = _pause_over(turn, s)
        if s.name in turn.policy.services and turn.pause_of(s) is None:
            s = _planned(turn, _drain(turn, s), local_seconds)
        turn.put(s)


def _pause_over(turn: Turn, s: ServiceState) -> ServiceState:
    if s.pause is not None and turn.at >= s.pause.until:
        s = resumed(turn, replace(s, pause=None), "the pause is over: llmagent acts again")
    if s.live.left_alone and turn.pause_of(s) is None:
        s = replace(s, live=replace(s.live, left_alone=""))
    return s


def resumed(turn: Turn, s: ServiceState, why: str) -> ServiceState:
    """Return a service whose own pause is over."""
    turn.tell(s.name, "resumed", why)
    return judged_anew(turn, s)


def judged_anew(turn: Turn, s: ServiceState) -> ServiceState:
    """Return a service of which what was left alone in a pause is found again."""
    live = replace(s.live, left_alone="", blocked_by="", verify_at=min(s.live.verify_at, turn.at))
    return replace(s, live=live)


def is_idle(turn: Turn, s: ServiceState) -> bool:
    """Tell whether vLLM was just seen without a request that runs or waits."""
    counters = s.live.counters
    fresh = turn.at - s.live.counters_at < FRESH_SECONDS
    return counters is not None and fresh and counters.running + counters.waiting == 0


def why_not_up_again(turn: Turn, s: ServiceState) -> str:
    """Return why a service that is restarted now would not come up again, "" where it would."""
    unfit = fitness.unfit(turn, s)
    return mismatch(turn.gpus) or (unfit.why if unfit is not None else "")


def restart(turn: Turn, s: ServiceState, why: str) -> ServiceState:
    """Have what runs started anew; its memory may still be in use when it starts."""
    s = turn.enter(s, Phase.WAITING, "restart", why)
    return replace(s, retry_at=turn.at, last_down_at=turn.at, settled=False)


def seconds_until(time_of_day: float, local_seconds: float) -> float:
    """Return how long it is to the next time that the clock shows a time; never 0."""
    return (time_of_day - local_seconds) % DAY_SECONDS or DAY_SECONDS


def _planned(turn: Turn, s: ServiceState, local_seconds: float | None) -> ServiceState:
    plan = s.planned_restart
    if plan is None or turn.at < plan.not_before:
        return s
    if plan.time_of_day is None and s.started_at > plan.since:
        turn.tell(s.name, "restart-planned", "it was started anew meanwhile: no other restart")
        return replace(s, planned_restart=None)
    if _is_missed(plan, local_seconds):
        turn.tell(s.name, "restart-planned", f"the restart {plan} was not possible: left out")
        return _after(turn, s, plan, local_seconds)
    ready = s.phase is Phase.SERVING and s.asked is None and not why_not_up_again(turn, s)
    if not ready or (plan.when_idle and not _rests(turn, s)):
        return s
    s = restart(turn, s, f"restart, as {plan.by} has asked for: {plan}")
    return _after(turn, s, plan, local_seconds)


def _rests(turn: Turn, s: ServiceState) -> bool:
    return is_idle(turn, s) and turn.at - s.live.tokens_at >= IDLE_SECONDS


def _is_missed(plan: PlannedRestart, local_seconds: float | None) -> bool:
    """Tell whether its time of day is over: the agent was away, or the service never ready."""
    if plan.time_of_day is None or local_seconds is None:
        return False
    return (local_seconds - plan.time_of_day) % DAY_SECONDS >= WINDOW_SECONDS


def _after(
    turn: Turn, s: ServiceState, plan: PlannedRestart, local_seconds: float | None
) -> ServiceState:
    if not plan.every_day or plan.time_of_day is None:
        return replace(s, planned_restart=None)
    now = plan.time_of_day if local_seconds is None else local_seconds
    seconds = seconds_until(plan.time_of_day, now)
    if seconds < LEAST_APART_SECONDS and not _is_missed(plan, local_seconds):
        seconds += DAY_SECONDS
    return replace(s, planned_restart=replace(plan, not_before=turn.at + seconds))


def _drain(turn: Turn, s: ServiceState) -> ServiceState:
    drain = s.drain
    if drain is None or s.asked is not None:
        return s
    if s.phase not in (Phase.STARTING, Phase.VERIFYING, Phase.SERVING):
        return replace(s, drain=None)
    seen = s.live.counters_at > drain.since
    if s.phase is Phase.SERVING and seen and is_idle(turn, s):
        return _stop(turn, s, "drained: no request runs or waits")
    if s.phase is Phase.STARTING or turn.at >= drain.not_after:
        return _stop(turn, s, "drained for as long as was asked: what still runs is ended")
    return s


def _stop(turn: Turn, s: ServiceState, why: str) -> ServiceState:
    s = turn.stop(s, why, then=Then.STAY_DOWN)
    return turn.enter(s, Phase.STOPPING, "drain", f"{why}: stop")


def drained(turn: Turn, s: ServiceState) -> ServiceState:
    """Return a service that is down because it was drained, until somebody starts it."""
    by = s.drain.by if s.drain is not None else "the operator"
    why = f"drained by {by}; `systemctl start {s.name}` brings it back"
    s = turn.enter(s, Phase.STOPPED, "stopped", why)
    return replace(s, asked=None, died=None, drain=None, last_down_at=turn.at)


def died_in_its_drain(turn: Turn, s: ServiceState, died: Died) -> ServiceState:
    """Return a service down that ended by itself while it was drained: nobody wants it back."""
    why = f"{s.name}.service ended while it was drained (result {died.result}): it stays down"
    s = turn.stop(s, why, then=Then.STAY_DOWN)
    asked = s.asked
    return replace(drained(turn, s), asked=asked)
