# SPDX-License-Identifier: Apache-2.0
"""What a failed fetch means: wait for the hub without limit, hold, or let vLLM try by itself."""

from __future__ import annotations

from dataclasses import replace

from agent.core.diagnosis.reader import Diagnosis
from agent.core.failures.classes import EnginePhase, FailureClass, Group, Kind
from agent.core.failures.meaning import TABLE, group_of, kind_of
from agent.core.failures.shown import shortened
from agent.core.hub.advice import advice_for_fetch
from agent.core.hub.unit import fetch_unit_name
from agent.core.judges.recover.exit_status import SYSTEMD_EXIT_STATUS
from agent.core.judges.recover.recovery import give_up
from agent.core.judges.turn import Turn
from agent.core.measures import GIB
from agent.core.remedy.backoff import backoff_seconds
from agent.core.remedy.propose import NEVER_HELD
from agent.core.state.held import HeldBy
from agent.core.state.phases import Phase
from agent.core.state.service import NO_LIVE_FETCH, Failure, ServiceState
from agent.core.state.unit import UnitFacts

UNKNOWN_ATTEMPTS = 3
"""Failures of no known cause in a row after which vLLM may try by itself."""

F = FailureClass


def judge(turn: Turn, s: ServiceState, unit: UnitFacts, said: Diagnosis) -> ServiceState:
    """Act on a fetch that ended with a failure."""
    by_systemd = SYSTEMD_EXIT_STATUS.get(unit.exec_main_status)
    if by_systemd is not None:
        name, do = by_systemd
        why = f"systemd could not run {fetch_unit_name(s.name)} ({unit.exec_main_status}/{name})"
        s = _note(turn, s, F.UNKNOWN, (why,))
        return _held(give_up(turn, s, F.UNKNOWN, why, do.format(name=s.name)), 0)
    failure = said.failure or F.UNKNOWN
    s = _counted(_note(turn, s, failure, said.evidence))
    if failure is F.DISK_FULL:
        return _no_room(turn, s)
    if failure in NEVER_HELD:
        return _again(turn, s, failure)
    if kind_of(failure) is Kind.HUMAN and group_of(failure) in (Group.HUB, Group.HOST):
        why = f"{failure.value}: no fetch can succeed"
        do = advice_for_fetch(failure, turn.policy_of(s).settings)
        return _held(give_up(turn, s, failure, why, do), 0)
    if s.fetch.attempts < UNKNOWN_ATTEMPTS:
        return _again(turn, s, failure)
    why = f"{failure.value}: the fetch failed {s.fetch.attempts} times: vLLM is started without it"
    s = turn.enter(s, Phase.WAITING, "fetch", why)
    return replace(s, retry_at=turn.at, fetch=replace(s.fetch, satisfied=True))


def stalled(turn: Turn, s: ServiceState, seconds: float) -> ServiceState:
    """Act on a fetch that brought nothing for so long; it goes on where it stopped."""
    s = _note(turn, s, F.HUB_UNREACHABLE, (f"not a byte has come for {seconds:.0f} s",))
    return _again(turn, _counted(s), F.HUB_UNREACHABLE)


def _note(
    turn: Turn, s: ServiceState, failure: FailureClass, lines: tuple[str, ...]
) -> ServiceState:
    shown = shortened(lines[0]) if lines else "no line of the log says why"
    phase = EnginePhase.DOWNLOADING
    turn.tell(
        s.name,
        "failure",
        f"{failure.value} while fetching: {shown}",
        **{"class": failure.value, "engine_phase": phase.value, "evidence": list(lines)},
    )
    return replace(s, failure=Failure(turn.at, failure, phase, lines, ""))


def _counted(s: ServiceState) -> ServiceState:
    """Count the failure; one after bytes came is the first again, as the next try goes on there."""
    live = s.live.fetch
    came = live.progress is not None and live.began is not None and live.progress.done > live.began
    return replace(s, fetch=replace(s.fetch, attempts=1 if came else s.fetch.attempts + 1))


def _again(turn: Turn, s: ServiceState, failure: FailureClass) -> ServiceState:
    least = TABLE[failure].retry_after_seconds
    recovery = turn.policy_of(s).recovery
    # Unlike a start, a fetch that failed gains nothing from being repeated at once.
    seconds = max(backoff_seconds(recovery, s.fetch.attempts + 1), least)
    why = f"{failure.value}: fetch again in {seconds:.0f} s, as often as it takes"
    s = turn.enter(s, Phase.WAITING, "remedy", why)
    s = _remedied(s, why)
    live = replace(s.live, fetch=NO_LIVE_FETCH)
    return replace(s, retry_at=turn.at + seconds, live=live, held=None)


def _no_room(turn: Turn, s: ServiceState) -> ServiceState:
    settings, live = turn.policy_of(s).settings, s.live.fetch
    if live.plan is None:
        do = advice_for_fetch(F.DISK_FULL, settings)
        return _held(give_up(turn, s, F.DISK_FULL, "disk-full: no fetch can succeed", do), 0)
    plan = live.plan
    missing = plan.missing
    if live.progress is not None:
        missing = min(missing, live.progress.total - live.progress.done)
    why = (
        f"disk-full: {settings.model} needs {missing / GIB:.1f} GiB and {plan.reserve / GIB:.1f} "
        f"GiB to spare, {plan.free / GIB:.1f} GiB are free in {plan.directory}"
    )
    do = f"{advice_for_fetch(F.DISK_FULL, settings)} It goes on by itself once there is room."
    return _held(give_up(turn, s, F.DISK_FULL, why, do), missing + plan.reserve)


def _held(s: ServiceState, wants_bytes: int) -> ServiceState:
    live = replace(s.live, fetch=NO_LIVE_FETCH)
    if s.held is None:  # it runs with the settings that were good before
        return replace(s, live=live)
    return replace(s, live=live, held=replace(s.held, by=HeldBy.FETCH, wants_bytes=wants_bytes))


def _remedied(s: ServiceState, why: str) -> ServiceState:
    assert s.failure is not None
    return replace(s, failure=replace(s.failure, remedy=why))
