# SPDX-License-Identifier: Apache-2.0
"""All ranks of a group live and die together: what `agent.core.cluster.judge` says, carried out."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from agent.core.cluster.echoes import is_cause
from agent.core.cluster.group import Group
from agent.core.cluster.judge import (
    Begin,
    End,
    Follow,
    Nothing,
    Own,
    Start,
    Step,
    Wait,
    heard,
    judge,
    name_of,
    seen_members,
)
from agent.core.cluster.member import UNKNOWN, Cause, Generation
from agent.core.cluster.same import same_of
from agent.core.failures.shown import shortened
from agent.core.judges.group import learning, peers
from agent.core.judges.turn import Turn
from agent.core.settings.cluster import ClusterSettings
from agent.core.state.phases import RUNS, Phase, Then
from agent.core.state.service import ServiceState

TELL_SECONDS = 30.0
NO_DIGITS = {ord(digit): None for digit in "0123456789"}
"""For how long a host has been silent is no other reason to wait."""

MOST_STEPS = 4
"""Of one look: to follow, to end, and what follows from these."""


def keep_together(turn: Turn) -> None:
    """Take the next step of every service that has a group."""
    for s in tuple(turn.services.values()):
        cluster = _cluster(turn, s)
        if cluster is None:
            if s.group is not None:
                turn.put(replace(s, group=None))
            continue
        group = s.group or Group()
        live = replace(peers.asked_of(turn, group.live, cluster), ready=False)
        s = peers.tell_who_is_away(turn, replace(s, group=replace(group, live=live)))
        s = learning.roll_back_with_others(turn, s)
        s = learning.share(turn, s, cluster.member)
        if s.live.unit is not None and not s.foreign:
            for _ in range(MOST_STEPS):
                before = s.group
                s = _take(turn, s, _step(turn, s, cluster, ready=False))
                if s.group == before:
                    break
        turn.put(_with_sight(turn, _with_cause(turn, s)))


def waits_for(turn: Turn, s: ServiceState) -> tuple[ServiceState, str]:
    """Return why a start that is due waits for other hosts; "": its rank is started now."""
    cluster = _cluster(turn, s)
    if cluster is None or s.group is None:
        return s, ""
    s = replace(s, group=replace(s.group, live=replace(s.group.live, ready=True)))
    for _ in range(MOST_STEPS):
        step = _step(turn, s, cluster, ready=True)
        match step:
            case Start():
                assert s.group is not None
                s = replace(s, group=replace(s.group, run=s.group.generation))
                return s, ""
            case Wait():
                return _with_sight(turn, _tell_wait(turn, s, step.why)), step.why
            case _:
                s = _take(turn, s, step)
    return _with_sight(turn, s), "waits for another look at the other hosts"


def _tell_wait(turn: Turn, s: ServiceState, why: str) -> ServiceState:
    """Tell what a start waits for when that has changed, at most twice a minute.

    The first reason is told by who starts services, as that of any other wait.
    """
    assert s.group is not None
    live, waits = s.group.live, why.translate(NO_DIGITS)
    if waits == live.waits or (live.waits and turn.at - live.waits_told_at < TELL_SECONDS):
        return s
    if live.waits and s.live.blocked_by:
        turn.tell(s.name, "wait", why)
    return peers.with_live(s, replace(live, waits=waits, waits_told_at=turn.at))


def on_adopted(turn: Turn, s: ServiceState) -> ServiceState:
    """Take note of a run that systemd or a person started, and nobody agreed on."""
    group = s.group
    if group is None:
        return s
    if group.generation == UNKNOWN:
        return replace(s, group=replace(group, run=UNKNOWN))  # what runs is all that is known
    s = replace(s, group=replace(group, run=None))
    cluster = _cluster(turn, s)
    if not group.used or cluster is None:
        return s
    cause = Cause(f"{s.name}.service was started anew by systemd or by hand")
    generation = Generation(group.generation.number + 1, cluster.member)
    return _begun(turn, s, generation, cause)


def _cluster(turn: Turn, s: ServiceState) -> ClusterSettings | None:
    policy = turn.policy.services.get(s.name)
    return None if policy is None else policy.settings.cluster


def _step(turn: Turn, s: ServiceState, cluster: ClusterSettings, *, ready: bool) -> Step:
    assert s.group is not None
    return judge(
        _own(turn, s, cluster, ready=ready), s.group.live.peers, turn.at, s.group.live.stop_at
    )


def _own(turn: Turn, s: ServiceState, cluster: ClusterSettings, *, ready: bool) -> Own:
    group, unit = s.group, s.live.unit
    assert group is not None
    others = (seen.member.member for seen in group.live.peers.values() if seen.member is not None)
    starts = s.asked is not None and not s.asked.stop
    settings = s.running or turn.policy_of(s).settings
    stop_seconds = turn.policy_of(s).recovery.stop_seconds
    engine = turn.policy.engines[s.name]
    same = same_of(turn.effective(s), engine.version, engine.torch, s.commit) if ready else {}
    return Own(
        member=cluster.member,
        members=frozenset((cluster.member, *others)),
        headless=cluster.headless,
        group=group,
        up=(unit is not None and unit.running) or starts,
        wanted=s.phase in RUNS,
        settled=s.phase not in (Phase.EXAMINING, Phase.STOPPING) and not _ends(s),
        ready=ready,
        running_since=max(s.started_at, s.since, group.live.since),
        drain_seconds=settings.shutdown_timeout + stop_seconds,
        same=same,
        moved_at=s.live.activity_at if s.phase is Phase.STARTING and not cluster.headless else None,
    )


def _ends(s: ServiceState) -> bool:
    """Tell whether the rank is on its way down: the main process is gone, and others of it are not.

    Why it ends is known once the unit is down and its log was read.
    """
    unit = s.live.unit
    return s.phase in RUNS and unit is not None and not unit.running


def _take(turn: Turn, s: ServiceState, step: Step) -> ServiceState:
    assert s.group is not None
    match step:
        case Nothing() | Wait() | Start():
            return s
        case Follow():
            return _followed(turn, s, step)
        case Begin():
            cause = Cause(step.why) if step.why else _cause(s)
            return _begun(turn, s, step.generation, cause)
        case End():
            return _end(turn, s, step)
        case _:
            assert_never(step)


def _followed(turn: Turn, s: ServiceState, step: Follow) -> ServiceState:
    assert s.group is not None
    seen = s.group.live.peers[step.address]
    theirs = seen.member
    assert theirs is not None
    cause = theirs.cause
    if step.keep:
        group = replace(s.group, generation=theirs.generation, run=theirs.generation)
        turn.tell(s.name, "generation", f"its rank is one of generation {theirs.generation}")
        return replace(s, group=replace(group, cause=cause, cause_at=turn.at))
    who = (cause.host if cause is not None else "") or name_of(step.address, seen)
    why = cause.sentence if cause is not None else "no reason is told"
    turn.tell(
        s.name,
        "generation",
        f"generation {theirs.generation} of all ranks, as {who} says: {why}",
        generation=theirs.generation.number,
        host=who,
    )
    at_once = s.group.generation.number == theirs.generation.number
    if at_once and is_cause(s.group.cause) and not is_cause(cause):
        cause = s.group.cause
    group = replace(s.group, generation=theirs.generation, cause=cause, cause_at=turn.at)
    return replace(s, group=group)


def _with_cause(turn: Turn, s: ServiceState) -> ServiceState:
    """Return the service with the cause of its generation, where a host knows it by now.

    Several hosts may begin the same one at once: one for what failed, others for what came of it.
    """
    group = s.group
    if group is None or is_cause(group.cause):
        return s
    for _, theirs in heard(group.live.peers, turn.at):
        if is_cause(theirs.cause) and theirs.generation.number == group.generation.number:
            return replace(s, group=replace(group, cause=theirs.cause))
    return s


def _begun(turn: Turn, s: ServiceState, generation: Generation, cause: Cause) -> ServiceState:
    assert s.group is not None
    turn.tell(
        s.name,
        "generation",
        f"generation {generation} of all ranks begins here: {cause.sentence}",
        generation=generation.number,
    )
    group = replace(s.group, generation=generation, cause=cause, cause_at=turn.at)
    return replace(s, group=group)


def _cause(s: ServiceState) -> Cause:
    """Return why the own rank has ended, or is to end."""
    unit, failure = s.live.unit, s.failure
    last_start = s.recent_starts[-1] if s.recent_starts else s.started_at
    if failure is not None and failure.at >= last_start:
        line = shortened(failure.evidence[0]) if failure.evidence else "no line of the log says why"
        return Cause(f"{failure.failure.value}: {line}", failure.failure.value)
    return Cause(s.reason, planned=unit is not None and unit.running)


def _end(turn: Turn, s: ServiceState, step: End) -> ServiceState:
    assert s.group is not None
    cause = s.group.cause
    why = _why_it_ends(cause)
    pause = turn.pause_of(s)
    if pause is not None:
        return turn.leave_alone(s, "generation", why)
    if s.asked is not None and s.asked.stop:
        return s
    if s.phase in RUNS:
        kind = "restart" if cause is not None and cause.planned else "follow"
        s = turn.enter(s, Phase.WAITING, kind, why)
        s = replace(s, retry_at=turn.at, settled=False)
    s = replace(s, last_down_at=turn.at)
    return turn.stop(s, why, then=Then.WAIT, kill=step.kill)


def _why_it_ends(cause: Cause | None) -> str:
    if cause is None:
        return "ended, as its ranks on other hosts have"
    where = (
        f"ended with the rank on {cause.host}" if cause.host else "ended, as all ranks start anew"
    )
    return f"{where}: {cause.sentence}"


def _with_sight(turn: Turn, s: ServiceState) -> ServiceState:
    """Return the service with whom it sees, and since when its run is to end."""
    group, unit = s.group, s.live.unit
    if group is None:
        return s
    up = unit is not None and unit.running
    stop_at = (group.live.stop_at or turn.at) if up and not group.used else 0.0
    sees = seen_members(group, group.live.peers, turn.at)
    return peers.with_live(s, replace(group.live, sees=sees, stop_at=stop_at))
