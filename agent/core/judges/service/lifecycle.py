# SPDX-License-Identifier: Apache-2.0
"""What the unit's own state means: it came up, it went down, somebody else stopped or started it.

Level-triggered: every reading of the unit is judged by itself, so that a lost signal costs time
and nothing else. With Restart=always a process that ends by itself always leaves the unit in
auto-restart; a unit that is inactive or failed was therefore stopped by a job, and when the agent
did not ask for it, the operator did (systemd 252, 257).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from agent.core.engine.command_line import command_line
from agent.core.judges.alive import start_progress as startup
from agent.core.judges.cards import looks as cards
from agent.core.judges.cards.looks import A_LOOK
from agent.core.judges.recover import recovery, reuse
from agent.core.judges.service import adoption, operator, wishes
from agent.core.judges.start import fetching, gates, planning
from agent.core.judges.turn import Turn
from agent.core.state.actions import ReadLog
from agent.core.state.observations import ActionDone, UnitSeen
from agent.core.state.phases import Phase, Then
from agent.core.state.service import Died, Live, ServiceState
from agent.core.state.unit import UnitFacts

LOG_SECONDS = 15.0
"""After this long without a word from the journal a dead run is judged without its log."""

UNIT_GONE = "unit-gone"
"""In place of systemd's Result, of a run that ended after its unit's file was removed."""

GRACE_SECONDS = 30.0
"""What systemd may need beyond the stop of the old process before an asked start shows."""


def on_unit(turn: Turn, s: ServiceState, seen: UnitSeen) -> ServiceState:
    """Judge a reading of the unit."""
    unit = seen.unit
    down_at = (s.live.down_at or turn.at) if unit.down else 0.0
    live = startup.with_cpu_time(s.live, unit, turn.at)
    if live is not s.live or unit != live.unit or down_at != live.down_at:
        s = replace(s, live=replace(live, unit=unit, down_at=down_at))
    if s.foreign and not unit.foreign and adoption.is_our_run(turn, s, unit):
        return adoption.take_back(turn, s, unit)
    if unit.foreign or s.foreign:
        return operator.on_foreign(turn, s, unit)
    if unit.gone:
        s = operator.put_the_link_back(turn, s)
    elif s.live.linked_at:
        s = replace(s, live=replace(s.live, linked_at=0.0))
    if unit.running:
        return _on_running(turn, s, unit)
    if unit.down:
        return _on_down(turn, s, unit)
    return s  # deactivating: on its way to one of the two


def _on_running(turn: Turn, s: ServiceState, unit: UnitFacts) -> ServiceState:
    if unit.invocation_id == s.invocation_id:
        return s
    if s.asked is not None and not s.asked.stop:
        if _started_with_other_settings(turn, s, unit):
            why = "systemd had started it with the settings before the last decision: start again"
            return turn.start(replace(s, invocation_id=unit.invocation_id), why)
        process = f" as process {unit.main_pid}" if unit.main_pid else ""
        turn.tell(s.name, "started", f"{s.name}.service runs{process}")
        return adoption.follow(turn, s, unit)
    return adoption.adopt(turn, s, unit)


def _started_with_other_settings(turn: Turn, s: ServiceState, unit: UnitFacts) -> bool:
    """Tell whether the process has another command line than the one that was asked for.

    Only a start that an earlier agent process asked for can be in doubt; comparing always would
    never end where the operator's drop-in has an ExecStart of its own. The interpreter may stand in
    front twice (a script's) and a process may rename itself: only a command line that carries
    options is compared.
    """
    if s.running is None or s.asked is None or s.asked.at > 0:
        return False
    if not any(word.startswith("--") for word in unit.command_line):
        return False
    wanted = command_line(s.running, turn.policy.engines[s.name])[1:]
    return unit.command_line[-len(wanted) :] != wanted


def _on_down(turn: Turn, s: ServiceState, unit: UnitFacts) -> ServiceState:
    match s.phase:
        case Phase.STARTING | Phase.VERIFYING | Phase.SERVING:
            if s.asked is not None:
                return _on_down_while_asked(turn, s, unit)
            if unit.pending_restart or unit.gone:
                return _died(turn, s, unit)
            return operator.stopped_by_operator(turn, s)
        case Phase.EXAMINING if not unit.pending_restart and not _lost_its_unit(s):
            return operator.stopped_by_operator(turn, s)
        case Phase.STOPPING:
            return _after_our_stop(turn, s)
        case Phase.WAITING | Phase.FETCHING | Phase.HELD | Phase.STOPPED if (
            not unit.pending_restart
        ):
            return s if s.asked is None else replace(s, asked=None)
        case _:
            return s


def _on_down_while_asked(turn: Turn, s: ServiceState, unit: UnitFacts) -> ServiceState:
    """Wait for the asked start, unless the unit shows that this very start already failed."""
    if unit.pending_restart and unit.invocation_id not in ("", s.invocation_id):
        return _died(turn, replace(s, invocation_id=unit.invocation_id, started_at=turn.at), unit)
    return s


def _died(turn: Turn, s: ServiceState, unit: UnitFacts) -> ServiceState:
    how, result = f"result {unit.result}, status {unit.exec_main_status}", unit.result
    if unit.gone:
        # systemd forgets the result with the unit, and cannot restart what it has no file of.
        how, result = "its unit was removed, by `systemctl disable` or with the package", UNIT_GONE
    died = Died(turn.at, s.phase, result, unit.exec_main_code, unit.exec_main_status)
    if s.drain is not None and turn.pause_of(s) is None:
        return wishes.died_in_its_drain(turn, s, died)
    s = turn.enter(s, Phase.EXAMINING, "died", f"{s.name}.service ended unasked ({how})")
    turn.do(ReadLog(s.name, s.invocation_id))
    return replace(s, died=died, asked=None)


def _lost_its_unit(s: ServiceState) -> bool:
    return s.died is not None and s.died.result == UNIT_GONE


def _after_our_stop(turn: Turn, s: ServiceState) -> ServiceState:
    asked = s.asked
    if asked is not None and asked.then is Then.HOLD:
        s = turn.enter(s, Phase.HELD, "held", s.reason)
        return replace(s, asked=None, last_down_at=turn.at)
    if asked is not None and asked.then is Then.STAY_DOWN:
        return wishes.drained(turn, s)
    failure, why = (asked.failure, asked.why) if asked is not None else (None, "")
    return recovery.recover_from_kill(turn, replace(s, asked=None), failure, why)


def on_action_done(turn: Turn, s: ServiceState, done: ActionDone) -> ServiceState:
    """Take note of what an effector could not do; success shows in the unit itself."""
    if done.action_id and done.action_id == s.fetch.action_id:
        return fetching.on_started(turn, s, done)
    if done.succeeded or s.asked is None or s.asked.action_id != done.action_id:
        return s
    if done.canceled and not s.asked.stop:
        return operator.stopped_by_operator(turn, s)
    if s.asked.stop:
        turn.tell(s.name, "effector", f"the stop failed: {done.detail}")
        return s
    return recovery.recover_from_refused_start(turn, replace(s, asked=None), done.detail)


def on_tick(turn: Turn, s: ServiceState) -> ServiceState:
    """Ask again for what was asked too long ago: the asking may have been lost with the agent."""
    policy = turn.policy.services.get(s.name)
    if s.phase is Phase.EXAMINING and policy is not None:
        waits = s.group is not None and s.group.live.log is not None
        due = waits or turn.at - s.since >= LOG_SECONDS
        return recovery.recover_without_log(turn, s) if due else s
    if s.asked is None or policy is None or s.live.unit is None:
        return s
    patience = policy.recovery.stop_seconds + policy.settings.shutdown_timeout + GRACE_SECONDS
    if turn.at - s.asked.at < patience:
        return s
    if s.asked.stop:
        asked = s.asked
        again = turn.stop(s, "the stop did not take effect", then=asked.then, kill=True)
        assert again.asked is not None
        return replace(again, asked=replace(again.asked, failure=asked.failure))
    if s.live.unit.running and s.live.unit.invocation_id != s.invocation_id:
        return s
    s = turn.enter(replace(s, asked=None), Phase.WAITING, "wait", "the start did not take effect")
    return replace(s, retry_at=turn.at)


def after_restart_of_agent(turn: Turn, s: ServiceState) -> ServiceState:
    """Make what was asked but perhaps never done due again, as soon as the unit is seen."""
    s = replace(s, live=Live(activity_at=turn.at, tokens_at=turn.at))
    if s.phase is Phase.EXAMINING:
        turn.do(ReadLog(s.name, s.invocation_id))
    if s.asked is not None:
        # A start may be asked again at once; a stop may be draining and gets its time again.
        s = replace(s, asked=replace(s.asked, at=turn.at if s.asked.stop else 0.0))
    return s


def start_what_may(turn: Turn) -> None:
    """Start each waiting service whose time has come, one at a time on each GPU."""
    for s in tuple(turn.services.values()):
        unit = s.live.unit
        if s.phase is not Phase.WAITING or s.asked is not None or unit is None:
            continue
        if s.name not in turn.policy.services or turn.at < s.retry_at:
            continue
        pause = turn.pause_of(s)
        if pause is not None:
            turn.put(_waits(turn, s, f"paused by {pause.by}: it is not started"))
            continue
        if not fetching.model_is_here(turn, s):
            continue
        closed = ((gate, why) for gate in GATES if (why := gate(turn, s)))
        gate, why = next(closed, (None, ""))
        if gate in CLEARS:
            s = replace(s, live=replace(s.live, clears=True))
        if not why and s.group is not None:
            from agent.core.judges.group import together  # for who has a group: memory

            s, why = together.waits_for(turn, s)
        turn.put(_waits(turn, s, why) if why else turn.start(reuse.with_profile(turn, s), s.reason))


def _waits(turn: Turn, s: ServiceState, why: str) -> ServiceState:
    if why == s.live.blocked_by:
        return s
    only_looked = not s.live.blocked_by or s.live.blocked_by.startswith(A_LOOK)
    if only_looked and not why.startswith(A_LOOK):
        turn.tell(s.name, "wait", why)
    return replace(s, live=replace(s.live, blocked_by=why))


GATES: tuple[Callable[[Turn, ServiceState], str], ...] = (
    gates.budget_of_the_hour,
    gates.no_other_start_on_its_gpus,
    cards.limits_settled,
    planning.look_for_the_plan,
    gates.no_leftovers,
    gates.memory_given_back,
)
"""What a start that is due must pass, in this order."""


CLEARS = frozenset({gates.no_leftovers, gates.memory_given_back})
"""Those that wait for what the last run has left."""

STAYS_DOWN = frozenset({Phase.WAITING, Phase.FETCHING, Phase.HELD})


def stop_what_must_not_come_back(turn: Turn) -> None:
    """Stop a dead unit that waits or is held, so that systemd's own restart does not interfere."""
    for s in tuple(turn.services.values()):
        unit = s.live.unit
        if s.phase not in STAYS_DOWN or s.asked is not None or unit is None:
            continue
        if turn.pause_of(s) is not None:
            continue
        if fetching.is_looking(turn, s):
            continue  # a start supersedes systemd's own without a stop before it
        if unit.pending_restart and not s.foreign:
            then = Then.HOLD if s.phase is Phase.HELD else Then.WAIT
            turn.put(turn.stop(s, s.reason, then=then))
