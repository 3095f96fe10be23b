# SPDX-License-Identifier: Apache-2.0
"""After a death: name the class, spend a remedy, say why."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from agent.core.diagnosis.numbers import Numbers
from agent.core.diagnosis.reader import Diagnosis
from agent.core.failures.classes import FailureClass, Group, Outcome
from agent.core.failures.meaning import group_of
from agent.core.failures.shown import shortened
from agent.core.judges.cards import fitness, xids
from agent.core.judges.holders import processes as ground
from agent.core.judges.recover import port, reuse, rollback
from agent.core.judges.recover import trials as probing
from agent.core.judges.recover.case_of import case_of, faults_with
from agent.core.judges.recover.exit_status import SYSTEMD_EXIT_STATUS, with_systemds_word
from agent.core.judges.turn import Turn
from agent.core.remedy import propose as remedies
from agent.core.remedy.backoff import backoff_seconds, end_of_budget
from agent.core.remedy.case import Change, Hold, Refetch, Retry, StartOver, Wait
from agent.core.secrets import without_quotations
from agent.core.settings.switches import is_switch
from agent.core.state.held import Held, HeldBy
from agent.core.state.learned import Override
from agent.core.state.observations import LogConcluded
from agent.core.state.phases import Phase
from agent.core.state.service import Died, Failure, ServiceState

FOLLOWS_AN_XID = frozenset({Group.ENGINE, Group.CUDA, Group.HARDWARE, Group.UNKNOWN})
"""What the engine's own log makes of an error that the driver knows better."""


def on_log_concluded(turn: Turn, s: ServiceState, concluded: LogConcluded) -> ServiceState:
    """Act on what the dead run's log says."""
    if s.phase is not Phase.EXAMINING or concluded.invocation_id != s.invocation_id:
        return s
    s = _judge(turn, s, concluded.diagnosis)
    port.ask_who_listens(turn, s)
    return s


def recover_without_log(turn: Turn, s: ServiceState) -> ServiceState:
    """Act on a death whose log could not be read, or was read and waited for other hosts' word."""
    group = s.group
    if group is None or group.live.log is None:
        return _judge(turn, s, None)
    return _judge(turn, replace(s, group=group.with_log(None)), group.live.log)


def _judge(turn: Turn, s: ServiceState, diagnosis: Diagnosis | None) -> ServiceState:
    died = s.died or Died(turn.at, Phase.STARTING, "unknown", 0, 0)
    by_systemd = SYSTEMD_EXIT_STATUS.get(died.exec_main_status)
    if by_systemd is not None and died.result == "exit-code":
        return _hold_by_systemd(turn, s, died.exec_main_status, *by_systemd)
    diagnosis = with_systemds_word(diagnosis, died)
    failure = _of_the_driver(s, died, _class_of(diagnosis, died))
    if (group := s.group) is not None:
        from agent.core.judges.recover import elsewhere  # for who serves with other hosts: memory

        if cause := elsewhere.cause_of(group, failure, turn.at):
            s = _note(turn, s, FailureClass.PEER_LOST, None, (cause,))
            return _wait(turn, s, FailureClass.PEER_LOST, 0.0, f"with all other hosts: {cause}")
        if elsewhere.may_come(turn, s, failure):
            return replace(s, group=group.with_log(diagnosis))
    return _recover(turn, s, failure, diagnosis)


def _of_the_driver(s: ServiceState, died: Died, failure: FailureClass) -> FailureClass:
    """Return the Xid that came with the death, unless the log knows a cause of another kind."""
    if group_of(failure) in FOLLOWS_AN_XID and s.live.xid is not None and xids.blamed(s, died.at):
        return s.live.xid
    return failure


def _class_of(diagnosis: Diagnosis | None, died: Died) -> FailureClass:
    tells = diagnosis is not None and diagnosis.outcome is not Outcome.STOPPED
    named = diagnosis.failure if diagnosis is not None and tells else None
    vague = (None, FailureClass.ENGINE_DEAD, FailureClass.WORKER_DIED, FailureClass.UNKNOWN)
    if died.result == "oom-kill" and named in vague:
        return FailureClass.HOST_OOM_KILLED
    if named is not None:
        return named
    served = died.phase in (Phase.SERVING, Phase.VERIFYING)
    return FailureClass.ENGINE_DEAD if served else FailureClass.UNKNOWN


def recover_from_kill(
    turn: Turn, s: ServiceState, failure: FailureClass | None, why: str
) -> ServiceState:
    """Act after the end of a run that the agent itself killed, as hung or stalled: `why`."""
    return _recover(turn, s, failure or FailureClass.UNKNOWN, None, (why,) if why else ())


def recover_from_refused_start(turn: Turn, s: ServiceState, detail: str) -> ServiceState:
    """Act on a start that never got as far as a process."""
    s = turn.enter(s, Phase.EXAMINING, "died", f"{s.name}.service could not be started: {detail}")
    return _recover(turn, s, FailureClass.UNKNOWN, None, (detail,))


def _hold_by_systemd(turn: Turn, s: ServiceState, status: int, name: str, do: str) -> ServiceState:
    why = f"systemd could not run {s.name}.service (status {status}/{name})"
    s = _note(turn, s, FailureClass.UNKNOWN, None, (why,))
    return give_up(turn, s, FailureClass.UNKNOWN, why, do.format(name=s.name))


def _recover(
    turn: Turn,
    s: ServiceState,
    failure: FailureClass,
    diagnosis: Diagnosis | None,
    evidence: tuple[str, ...] = (),
) -> ServiceState:
    """Note the failure, then answer it: by its card, by the trial it ended, or by its remedy."""
    case = case_of(turn, s, failure, diagnosis)
    s = _note(turn, s, failure, diagnosis, evidence)
    pause = turn.pause_of(s)
    if pause is not None:
        return _left_alone(turn, s, failure, pause.by)
    unfit = fitness.unfit(turn, s)
    if unfit is not None:
        return _hold(turn, s, unfit)
    without_profile = reuse.after_failure(turn, s, failure)
    if without_profile is not None:
        return _wait(turn, without_profile, failure, 0.0, without_profile.learned.profile_refused)
    remedy = remedies.propose(case)
    s = replace(s, learned=replace(s.learned, bounds=remedies.bounds_after(case)))
    if isinstance(remedy, Wait):  # says nothing against a trial that is under way
        return _wait(turn, _spend(s, failure), failure, remedy.seconds, remedy.why)
    without_trial = probing.after_failure(turn, s, failure)
    if without_trial is not None:
        return _wait(turn, without_trial, failure, 0.0, "with what was learned before")
    return _apply(turn, s, failure, remedy)


def _left_alone(turn: Turn, s: ServiceState, failure: FailureClass, by: str) -> ServiceState:
    """Spend no remedy in a pause, in which none can be tried: systemd may start it as it was."""
    why = f"{failure.value}: paused by {by}, so nothing is done about it"
    s = turn.enter(s, Phase.WAITING, "left-alone", why)
    return replace(_remedied(s, why), retry_at=turn.at, asked=None, held=None)


def _apply(
    turn: Turn,
    s: ServiceState,
    failure: FailureClass,
    remedy: Change | Retry | Refetch | StartOver | Hold,
) -> ServiceState:
    match remedy:
        case Change():
            return _change(turn, s, failure, remedy)
        case Retry():
            return _retry(turn, s, failure, remedy)
        case Refetch():
            s = replace(s, learned=replace(s.learned, refetch=f"{failure.value}: {remedy.why}"))
            return _wait(turn, _spend(s, failure), failure, 0.0, remedy.why)
        case StartOver():
            return _start_over(turn, s, failure, remedy.why)
        case Hold():
            if _our_own_doing(s, failure):
                why = "what was learned does not go with the other settings"
                return _start_over(turn, s, failure, why)
            return give_up(turn, s, failure, f"{failure.value}: {remedy.why}", remedy.what_to_do)
        case _:
            assert_never(remedy)


def _retry(turn: Turn, s: ServiceState, failure: FailureClass, retry: Retry) -> ServiceState:
    s = replace(s, learned=s.learned.with_attempt())
    if rollback.is_given_up(turn, s, failure):
        why = f"{failure.value}: {s.learned.attempts} starts in a row came to nothing"
        rolled = rollback.instead_of_holding(turn, s, failure, why)
        if rolled is not None:
            return _roll_back(turn, rolled, failure)
    seconds = max(_backoff(turn, s), retry.at_least_seconds)
    return _wait(turn, s, failure, seconds, retry.why)


def _start_over(turn: Turn, s: ServiceState, failure: FailureClass, why: str) -> ServiceState:
    # What was spent stays so until it has settled: or else all would be tried round and round.
    learned = s.learned.with_spent(failure).with_attempt()
    bounds = remedies.bounds_after_start_over(learned.bounds)
    s = replace(s, learned=replace(learned, overrides={}, probes={}, bounds=bounds))
    turn.tell(s.name, "forgotten", f"learned settings: {why}")
    return _wait(turn, s, failure, _backoff(turn, s), why)


def _spend(s: ServiceState, failure: FailureClass) -> ServiceState:
    return replace(s, learned=s.learned.with_spent(failure))


def _our_own_doing(s: ServiceState, failure: FailureClass) -> bool:
    """Tell whether vLLM may refuse what the agent itself has changed; once is enough to know."""
    configuration = group_of(failure) is Group.CONFIGURATION
    return configuration and bool(s.learned.overrides) and failure not in s.learned.spent


def _note(
    turn: Turn,
    s: ServiceState,
    failure: FailureClass,
    diagnosis: Diagnosis | None,
    evidence: tuple[str, ...],
) -> ServiceState:
    phase = diagnosis.phase if diagnosis is not None else s.live.engine_phase
    place = diagnosis.place if diagnosis is not None else ""
    lines = diagnosis.evidence if diagnosis is not None else evidence
    lines = tuple(map(without_quotations, lines))
    shown = shortened(lines[0]) if lines else "no line of the log says why"
    settings = turn.policy_of(s).settings
    numbers = diagnosis.numbers if diagnosis is not None else Numbers()
    others = ground.others_sentence(turn.gpus, settings, failure, numbers)
    data: dict[str, object] = {
        "class": failure.value,
        "engine_phase": phase.value,
        "evidence": list(lines),
    }
    if others:
        shown = f"{shown}; {others}"
        data["strangers"] = ground.strangers_data(turn.gpus, settings)
    turn.tell(s.name, "failure", f"{failure.value} while {phase.value}: {shown}", **data)
    return replace(
        s,
        failure=Failure(turn.at, failure, phase, lines, "", place),
        faults=faults_with(s, failure, turn.at),
        last_down_at=turn.at,
    )


def _change(turn: Turn, s: ServiceState, failure: FailureClass, change: Change) -> ServiceState:
    configured = getattr(turn.policy_of(s).settings, change.setting, None)
    why = f"{failure.value}: {change.why}"
    override = Override(configured, change.value, turn.at, why)
    learned = replace(
        s.learned.with_spent(failure),
        overrides={**s.learned.overrides, change.setting: override},
        bounds=remedies.bounds_with(s.learned.bounds, change),
    )
    s = replace(s, learned=learned)
    now = change.setting if is_switch(change.setting) else f"{change.setting} = {change.value}"
    turn.tell(s.name, "learned", f"{now} from now on: {why}")
    return _wait(turn, s, failure, 0.0, f"{change.setting}: {change.why}")


def _wait(
    turn: Turn, s: ServiceState, failure: FailureClass, seconds: float, why: str
) -> ServiceState:
    retry_at = max(turn.at + seconds, _end_of_budget(turn, s))
    when = f"start again in {retry_at - turn.at:.0f} s" if retry_at > turn.at else "start again"
    sentence = f"{failure.value}: {when}: {why}"
    s = turn.enter(s, Phase.WAITING, "remedy", sentence)
    return replace(
        _remedied(s, sentence),
        retry_at=retry_at,
        restarts={**s.restarts, failure: s.restarts.get(failure, 0) + 1},
        asked=None,
        held=None,
    )


def give_up(turn: Turn, s: ServiceState, failure: FailureClass, why: str, do: str) -> ServiceState:
    """Hold what only a person can help, or go back to what was good; needs `s.failure`."""
    rolled = rollback.instead_of_holding(turn, s, failure, why)
    if rolled is not None:
        return _roll_back(turn, rolled, failure)
    return _hold(turn, s, Held(HeldBy.FAILURE, why, do))


def _hold(turn: Turn, s: ServiceState, held: Held) -> ServiceState:
    s = turn.hold(s, held)
    return _remedied(s, s.reason)


def _roll_back(turn: Turn, s: ServiceState, failure: FailureClass) -> ServiceState:
    assert s.rolled_back is not None
    note = s.rolled_back.note
    s = turn.enter(s, Phase.WAITING, "rolled-back", note)
    counted = {**s.restarts, failure: s.restarts.get(failure, 0) + 1}
    return replace(_remedied(s, note), retry_at=_end_of_budget(turn, s), restarts=counted)


def _remedied(s: ServiceState, sentence: str) -> ServiceState:
    assert s.failure is not None
    return replace(s, failure=replace(s.failure, remedy=sentence))


def _backoff(turn: Turn, s: ServiceState) -> float:
    return backoff_seconds(turn.policy_of(s).recovery, s.learned.attempts)


def _end_of_budget(turn: Turn, s: ServiceState) -> float:
    """Return when the hour's budget of starts allows the next one."""
    most = turn.policy_of(s).recovery.max_starts_per_hour
    return end_of_budget(s.recent_starts, most, turn.at)
