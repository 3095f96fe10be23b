# SPDX-License-Identifier: Apache-2.0
"""What an operator asks of the running agent: answered at once, done when its time has come.

The answer is an action: it leaves once the decision is recorded, so that what was acknowledged
outlives the agent.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from agent.core.judges.service import drill, wishes
from agent.core.judges.turn import AGENT, Turn
from agent.core.measures import HOUR_SECONDS
from agent.core.state.phases import RUNS, Phase
from agent.core.state.service import ServiceState
from agent.core.state.steering.asked import Answer, OperatorAsked
from agent.core.state.steering.requests import (
    AskDrain,
    AskDrill,
    AskPause,
    AskRestart,
    AskResume,
)
from agent.core.state.steering.wishes import Drain, Pause, PlannedRestart

WATCHES = "llmagent watches and tells, and does not act"


class _RefusedError(Exception):
    """Says why what was asked is not done."""


def on_asked(turn: Turn, asked: OperatorAsked) -> None:
    """Take the request into what is remembered, or refuse it; either is answered."""
    try:
        message = _take(turn, asked)
    except _RefusedError as refused:
        turn.do(Answer(asked.number, done=False, message=str(refused)))
    else:
        turn.do(Answer(asked.number, done=True, message=message))


def _take(turn: Turn, asked: OperatorAsked) -> str:
    match asked.request:
        case AskPause():
            return _pause(turn, asked.request, asked.by)
        case AskResume():
            return _resume(turn, asked.request, asked.by)
        case AskRestart():
            return _restart(turn, asked.request, asked)
        case AskDrain():
            return _drain(turn, asked.request, asked.by)
        case AskDrill():
            return _drill(turn, asked.request, asked.by)
        case _:
            assert_never(asked.request)


def _named(turn: Turn, name: str) -> ServiceState:
    s = turn.services.get(name)
    if s is None or name not in turn.policy.services:
        known = ", ".join(turn.policy.services) or "none"
        raise _RefusedError(f"llmagent looks after no such service; configured: {known}")
    return s


def _pause(turn: Turn, request: AskPause, by: str) -> str:
    pause = Pause(turn.at, turn.at + request.seconds, by)
    told = f"paused by {by} for {spoken(request.seconds)}: {WATCHES}"
    if not request.service:
        turn.pause = pause
        turn.tell(AGENT, "paused", f"the whole host is {told}")
        return f"the whole host is {told}; `llmagent resume` ends it"
    s = _named(turn, request.service)
    turn.tell(s.name, "paused", told)
    turn.put(replace(s, pause=pause))
    return f"{s.name} is {told}; `llmagent resume {s.name}` ends it"


def _resume(turn: Turn, request: AskResume, by: str) -> str:
    why = f"the pause is ended by {by}: llmagent acts again"
    if request.service:
        s = _named(turn, request.service)
        if s.pause is None and turn.pause is not None:
            raise _RefusedError("the whole host is paused: `llmagent resume` without a name")
        if s.pause is None:
            return f"{s.name} was not paused"
        turn.put(wishes.resumed(turn, replace(s, pause=None), why))
        also = "; the whole host is still paused" if turn.pause is not None else ""
        return f"{s.name} is looked after again{also}"
    paused = [s for s in turn.services.values() if s.pause is not None]
    if turn.pause is None and not paused:
        return "nothing was paused"
    if turn.pause is not None:
        turn.pause = None
        turn.tell(AGENT, "resumed", why)
    for s in tuple(turn.services.values()):
        if s.pause is not None:
            s = wishes.resumed(turn, replace(s, pause=None), why)
        turn.put(wishes.judged_anew(turn, s))
    return "everything is looked after again"


def _restart(turn: Turn, request: AskRestart, asked: OperatorAsked) -> str:
    s = _named(turn, request.service)
    if request.cancel:
        if s.planned_restart is None:
            return f"no restart of {s.name} was planned"
        turn.tell(s.name, "restart-planned", f"{asked.by} takes the planned restart back")
        turn.put(replace(s, planned_restart=None))
        return f"the planned restart of {s.name} is taken back"
    if request.time_of_day is None and not request.when_idle:
        return _restart_now(turn, s, asked.by)
    if request.when_idle:
        _takes_requests(turn, s)
    not_before = turn.at
    if request.time_of_day is not None:
        not_before += wishes.seconds_until(request.time_of_day, asked.local_seconds)
    plan = PlannedRestart(
        turn.at,
        asked.by,
        not_before,
        request.time_of_day,
        when_idle=request.when_idle,
        every_day=request.every_day,
    )
    turn.tell(s.name, "restart-planned", f"a restart is planned by {asked.by}: {plan}")
    turn.put(replace(s, planned_restart=plan))
    return f"{s.name} is restarted {plan}; `llmagent restart {s.name} --cancel` takes it back"


def _restart_now(turn: Turn, s: ServiceState, by: str) -> str:
    _is_free(turn, s)
    why = f"restart, asked for by {by}"
    if s.phase in RUNS:
        if broken := wishes.why_not_up_again(turn, s):
            raise _RefusedError(f"{s.name} would not come up again: {broken}")
        turn.put(replace(wishes.restart(turn, s, why), drain=None))
        return f"{s.name} is restarted now; `llmagent status --watch` shows it"
    match s.phase:
        case Phase.WAITING:
            turn.tell(s.name, "restart", f"start at once, asked for by {by}")
            turn.put(replace(s, retry_at=turn.at))
        case Phase.HELD | Phase.STOPPED:
            s = turn.enter(s, Phase.WAITING, "restart", f"start, asked for by {by}")
            tried = s.learned.with_tries_forgotten()
            turn.put(replace(s, retry_at=turn.at, held=None, recent_starts=(), learned=tried))
        case _:
            raise _RefusedError(f"{s.name} is {s.phase.value}: it is started by itself after that")
    return f"{s.name} is started as soon as it can be; `llmagent status --watch` shows it"


def _drain(turn: Turn, request: AskDrain, by: str) -> str:
    s = _named(turn, request.service)
    _is_free(turn, s)
    if s.phase not in RUNS or s.asked is not None:
        raise _RefusedError(f"{s.name} is {s.phase.value}: no request can run in it")
    _takes_requests(turn, s)
    limit = spoken(request.seconds)
    turn.put(replace(s, drain=Drain(turn.at, turn.at + request.seconds, by)))
    why = f"it is drained by {by}: stopped once no request runs or waits, in {limit} at the latest"
    turn.tell(s.name, "drain", why)
    return (
        f"{s.name} is stopped once no request runs or waits, in {limit} at the latest. New requests"
        " are still taken: vLLM itself has no way to refuse them, so send clients elsewhere first"
    )


def _drill(turn: Turn, request: AskDrill, by: str) -> str:
    s = _named(turn, request.service)
    _is_free(turn, s)
    if why := drill.why_not(turn, s, request.fault):
        raise _RefusedError(why)
    return drill.begin(turn, s, request, by)


def _takes_requests(turn: Turn, s: ServiceState) -> None:
    """Refuse what waits for the requests of a rank that takes none."""
    if elsewhere := turn.policy_of(s).settings.asked_elsewhere:
        raise _RefusedError(elsewhere)


def _is_free(turn: Turn, s: ServiceState) -> None:
    """Refuse what a pause or another's unit forbids."""
    if s.foreign:
        raise _RefusedError(f"{s.foreign} is not llmagent's")
    if turn.pause_of(s) is not None:
        name = "" if s.pause is None else f" {s.name}"
        raise _RefusedError(f"{s.name} is paused: `llmagent resume{name}` first")


def spoken(seconds: float) -> str:
    """Return a time as a person says it: "90 s", "2 h", "1 h 30 min"."""
    if seconds < 2 * 60:
        return f"{seconds:.0f} s"
    hours, rest = divmod(round(seconds), int(HOUR_SECONDS))
    parts = [f"{hours} h"] if hours else []
    if rest:
        parts.append(f"{rest / 60:.0f} min")
    return " ".join(parts)
