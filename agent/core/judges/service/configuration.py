# SPDX-License-Identifier: Apache-2.0
"""What a start of the agent, a reboot of the host and a new agent.toml mean for the services."""

from __future__ import annotations

from dataclasses import replace

from agent.core.failures.classes import FailureClass
from agent.core.judges.cards import looks as cards
from agent.core.judges.driver.mismatch import mismatch, other_hosts
from agent.core.judges.recover import forgetting as learning
from agent.core.judges.recover import rollback
from agent.core.judges.service.lifecycle import after_restart_of_agent
from agent.core.judges.start import ahead, fetching
from agent.core.judges.turn import AGENT, Turn
from agent.core.settings.changes import restart_needed
from agent.core.state.held import HeldBy
from agent.core.state.learned import NOTHING_LEARNED
from agent.core.state.observations import AgentStarted, ConfigLoaded, ConfigRefused
from agent.core.state.phases import RUNS, Phase
from agent.core.state.rows.past import by_the_clock_of_now
from agent.core.state.service import Live, ServiceState

RESET = FailureClass.HOST_RESET

HAD_PROCESSES = RUNS | {Phase.EXAMINING, Phase.STOPPING}
"""Phases of a service that the removal of the package stopped; any other is as it was."""


def on_agent_started(turn: Turn, known_boot: str, started: AgentStarted) -> None:
    """Go on where the last process of the agent stopped, or start over after a reboot."""
    set_by = turn.boot(started.boot_id, started.booted_at)
    if turn.pause is not None:
        turn.pause = by_the_clock_of_now(turn.pause, set_by, turn.at)
    if turn.outbox is not None:
        turn.outbox = by_the_clock_of_now(turn.outbox, set_by, turn.at)
    rebooted = bool(known_boot) and known_boot != started.boot_id
    went_down = "the host was rebooted"
    if not started.orderly:
        went_down = "the host was reset: it went down without a shutdown (power, panic or reset)"
    reset = rebooted and not started.orderly
    turn.tell(AGENT, "agent", went_down if rebooted else "the agent started", reset=reset)
    for card in tuple(turn.cards.values()):
        turn.put_card(by_the_clock_of_now(card, set_by, turn.at))
    cards.on_agent_started(turn, rebooted=rebooted)
    services = tuple(turn.services.values())
    for s in (by_the_clock_of_now(s, set_by, turn.at) for s in services):
        if rebooted:
            if not started.orderly and s.phase in HAD_PROCESSES:
                restarts = {**s.restarts, RESET: s.restarts.get(RESET, 0) + 1}
                s = replace(s, restarts=restarts)
            turn.put(_start_over(turn, s, "reboot", f"{went_down}: start"))
        elif started.reinstalled and s.phase in HAD_PROCESSES:
            why = "it was stopped with the package, which is installed again: start"
            turn.put(_start_over(turn, s, "reinstalled", why))
        else:
            turn.put(after_restart_of_agent(turn, s))
    ahead.hear(turn, rebooted=rebooted)


def _start_over(turn: Turn, s: ServiceState, kind: str, why: str) -> ServiceState:
    if s.phase is not Phase.WAITING:
        s = turn.enter(s, Phase.WAITING, kind, why)
    return replace(
        s,
        asked=None,
        died=None,
        invocation_id="",
        retry_at=turn.at,
        recent_starts=(),
        last_down_at=0.0,
        held=None,
        foreign="",
        was_stopped=False,
        live=Live(activity_at=turn.at, tokens_at=turn.at),
    )


def on_config_refused(turn: Turn, refused: ConfigRefused) -> None:
    """Keep the old configuration in force and say what is wrong with the new one."""
    count = len(refused.mistakes)
    what = (
        refused.mistakes[0] if count == 1 else f"{count} mistakes, the first: {refused.mistakes[0]}"
    )
    turn.tell(
        AGENT,
        "refused",
        f"agent.toml is refused, the old one stays in force: {what}",
        mistakes=list(refused.mistakes),
    )


def on_config_loaded(turn: Turn, loaded: ConfigLoaded) -> None:
    """Bring every service to the policy that is now in force."""
    for change in loaded.changes:
        turn.tell(AGENT, "reload", change)
    if loaded.reload:
        cards.on_reload(turn)
    for name in tuple(turn.services):
        if name not in turn.policy.services:
            turn.drop(name)
            why = f"{name}.service is no longer in agent.toml: left as it is, not watched any more"
            turn.tell(name, "forgotten", why)
    for name in turn.policy.services:
        s = turn.services.get(name)
        if s is None:
            s = ServiceState(name, since=turn.at, reason="start: configured in agent.toml")
            turn.tell(name, "configured", f"{name}.service is in agent.toml")
        s = learning.forget_what_was_learned_elsewhere(turn, _after_rollback(turn, s))
        s = _apply(turn, s, reload=loaded.reload)
        turn.put(s)
        if s.phase is not Phase.WAITING and not s.foreign:
            turn.write_unit(s)


def _after_rollback(turn: Turn, s: ServiceState) -> ServiceState:
    """Give a changed agent.toml its turn."""
    if not rollback.ends(s, turn.policy.services[s.name]):
        return s
    turn.tell(s.name, "rolled-back", "agent.toml was changed: its settings are in force again")
    return replace(s, rolled_back=None, learned=NOTHING_LEARNED)


def _apply(turn: Turn, s: ServiceState, *, reload: bool) -> ServiceState:
    wanted = turn.policy.services[s.name].settings
    edited = s.configured is not None and bool(restart_needed(s.configured, wanted))
    s = replace(s, configured=wanted)
    if not reload or s.foreign:
        return s
    match s.phase:
        case Phase.STARTING | Phase.VERIFYING | Phase.SERVING if s.running is not None:
            # What was edited while the agent was away counts too: the operator asks for it now.
            changed = restart_needed(s.running, turn.effective(s))
            return _restart(turn, s, ", ".join(changed)) if changed else _as_it_is(s)
        case Phase.FETCHING if edited:
            return _start_anew(turn, fetching.stop_fetch(turn, s), "agent.toml was changed")
        case Phase.HELD if edited:
            return _start_anew(turn, s, "agent.toml was changed")
        case Phase.HELD if s.held is not None and s.held.by is HeldBy.FETCH:
            return fetching.start_over(turn, s, "start: agent.toml was read again")
        case Phase.WAITING if edited:
            forgotten = s.learned.with_tries_forgotten()
            s = fetching.looked_no_more(s)
            return replace(s, retry_at=turn.at, recent_starts=(), learned=forgotten)
        case _:
            return s


def _as_it_is(s: ServiceState) -> ServiceState:
    """Return what runs with all that is asked: a restart that waited is not wanted any more."""
    return replace(s, restart_wanted="")


def _restart(turn: Turn, s: ServiceState, what: str) -> ServiceState:
    """Start with the new settings, but never stop a service that could not come up again."""
    why = mismatch(turn.gpus)
    if turn.pause_of(s) is not None:
        waits = "the end of the pause"
    elif why:
        waits = f"a reboot: {why}"
    elif why := other_hosts(turn, s):
        waits = f"{why}; what runs goes on, and `llmagent restart {s.name}` does not wait"
    else:
        return _start_anew(turn, s, what)
    turn.tell(s.name, "reload", f"the restart that {what} needs waits for {waits}")
    return replace(s, restart_wanted=f"start with the new settings: {what}")


def _start_anew(turn: Turn, s: ServiceState, what: str) -> ServiceState:
    if s.phase in RUNS:
        s = replace(s, last_down_at=turn.at)  # its own memory may be in use still when it starts
    s = turn.enter(s, Phase.WAITING, "reload", f"start with the new settings: {what}")
    s = fetching.looked_no_more(s)
    # A card that was too hot must be cool before the new settings run on it.
    held = s.held if s.held is not None and s.held.by is HeldBy.CARD else None
    s = replace(s, retry_at=turn.at, recent_starts=(), asked=None, held=held)
    return replace(s, learned=s.learned.with_tries_forgotten())
