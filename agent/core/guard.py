# SPDX-License-Identifier: Apache-2.0
"""A net under `decide`: what cannot be decided of one service is told, and the others go on.

An exception in a judge is a fault of ours, but what brings it about may come from outside: a
model's files, a line of a log, a row of the store. Every judge sees all services, so the one that
it is about is found by deciding again with each service alone: `decide` is pure, and costs nothing
but time. Such a service is set aside: shown as held, its unit left to systemd, its state kept as it
is and tried again from time to time, and whenever the configuration is read. Meanwhile no other
service starts on its cards unless it is down or was seen to serve: both would measure what is free.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from types import MappingProxyType, TracebackType

from agent.core.decide import decide
from agent.core.record import dataclass
from agent.core.settings.service import Settings
from agent.core.state.held import Held, HeldBy
from agent.core.state.host import Decision, HostState, News
from agent.core.state.observations import AgentStarted, ConfigLoaded, Observation, UnitSeen
from agent.core.state.phases import Phase
from agent.core.state.policy import HostPolicy
from agent.core.state.service import ServiceState
from agent.core.state.unit import UnitFacts

AGAIN_SECONDS = 300.0
"""After this a service that was set aside is tried again: what it failed on may be over."""

WHAT_TO_DO = (
    "Its unit is left as it is. Mend what the sentence names and reload llmagent, or report it as a"
    " fault of llmagent's."
)
OURS = "agent/"
MOST_TOLD = 100


@dataclass(frozen=True, slots=True)
class Aside:
    """A service about which nothing can be decided."""

    since: float
    why: str
    tried_at: float
    """When it was last tried to decide about it."""

    unit: UnitFacts | None = None
    """Its unit as seen since then; None: not seen yet."""


@dataclass(frozen=True, slots=True)
class Guard:
    """What the net holds: services set aside, and sentences about observations that were left out.

    Only the deciding thread has one; it is not stored, so that a new process tries everything.
    """

    aside: Mapping[str, Aside] = field(default_factory=lambda: MappingProxyType({}))
    told: frozenset[str] = frozenset()


def guarded(
    state: HostState, observation: Observation, policy: HostPolicy, guard: Guard
) -> tuple[Decision, Guard]:
    """Return what `decide` returns, of the services of which it can; raises nothing."""
    known = {name: held for name, held in guard.aside.items() if name in state.services}
    if isinstance(observation, UnitSeen) and (held := known.get(observation.service)) is not None:
        known[observation.service] = replace(held, unit=observation.unit)
    out = frozenset(known) - _due(known, observation)
    try:
        return _merged(state, _without(state, observation, policy, out, known), known, out, guard)
    # The third place: a judge that fails takes its service out, not the agent down.
    except Exception as error:  # noqa: BLE001
        first = error
    bad = _culprits(state, observation, policy, out)
    everything = out | frozenset(bad)
    try:
        decision = _without(state, observation, policy, everything, known)
    except Exception as error:  # noqa: BLE001 - as above
        return _left_out(state, observation, guard, error)
    if not bad:
        return _left_out(state, observation, guard, first)
    known |= {name: _set_aside(known.get(name), why, observation.at) for name, why in bad.items()}
    if isinstance(observation, ConfigLoaded):
        everything &= frozenset(policy.services)  # the others are no longer looked after
    return _merged(state, decision, known, everything, guard)


def set_aside(guard: Guard, name: str, why: str, at: float) -> Guard:
    """Return the guard with a service set aside that could not be shown."""
    return replace(guard, aside={**guard.aside, name: _set_aside(guard.aside.get(name), why, at)})


def as_shown(state: HostState, guard: Guard) -> HostState:
    """Return the state as everybody is to see it: what is set aside is held."""
    if not guard.aside:
        return state
    held = {
        name: replace(
            state.services[name],
            phase=Phase.HELD,
            since=aside.since,
            reason=aside.why,
            held=Held(HeldBy.FAILURE, aside.why, WHAT_TO_DO),
        )
        for name, aside in guard.aside.items()
        if name in state.services
    }
    return replace(state, services={**state.services, **held})


def place_of(error: BaseException) -> str:
    """Return what went wrong and where in our code, in a few words: "ValueError in a.py:3: ..."."""
    where, trace = "", error.__traceback__
    while trace is not None:
        where = _line(trace) or where
        trace = trace.tb_next
    text = " ".join("".join(c if c.isprintable() else " " for c in str(error)[:200]).split())
    kind = type(error).__name__
    return f"{kind}{f' in {where}' if where else ''}{f': {text}' if text else ''}"


def _line(trace: TracebackType) -> str:
    file = trace.tb_frame.f_code.co_filename
    _, found, inside = file.rpartition(f"/{OURS}")
    return f"{OURS}{inside}:{trace.tb_lineno}" if found else ""


def _due(known: Mapping[str, Aside], observation: Observation) -> frozenset[str]:
    """Return the services to try again now."""
    if isinstance(observation, AgentStarted | ConfigLoaded):
        return frozenset(known)
    at = observation.at
    return frozenset(n for n, a in known.items() if at - a.tried_at >= AGAIN_SECONDS)


def _may_start(
    state: HostState, policy: HostPolicy, known: Mapping[str, Aside], out: frozenset[str]
) -> dict[str, Settings]:
    """Return the settings of those set aside whose unit may be starting, unseen by the judges."""
    found: dict[str, Settings] = {}
    for name in sorted(out & policy.services.keys()):
        s, held = state.services.get(name), known.get(name)
        if s is None:
            continue
        unit = held.unit if held is not None and held.unit is not None else s.live.unit
        if unit is not None:
            is_down = not unit.running and not unit.pending_restart
            serves = s.phase is Phase.SERVING and unit.invocation_id == s.invocation_id
            if is_down or (serves and not unit.pending_restart):
                continue
        found[name] = s.running or policy.services[name].settings
    return found


def _without(
    state: HostState,
    observation: Observation,
    policy: HostPolicy,
    out: frozenset[str],
    known: Mapping[str, Aside],
) -> Decision:
    """Decide as if these services were not there."""
    if not out:
        return decide(state, observation, policy)
    services = {name: s for name, s in state.services.items() if name not in out}
    policies = {name: p for name, p in policy.services.items() if name not in out}
    may_start = _may_start(state, policy, known, out)
    rest = replace(state, services=services, may_start=may_start)
    narrow = replace(policy, services=policies)
    return decide(rest, observation, narrow)


def _culprits(
    state: HostState, observation: Observation, policy: HostPolicy, out: frozenset[str]
) -> dict[str, str]:
    """Return the services of which, alone, nothing can be decided, and why."""
    names = [name for name in {**state.services, **policy.services} if name not in out]
    bad: dict[str, str] = {}
    for name in names:
        others = frozenset(names) - {name}
        try:
            _without(state, observation, policy, out | others, {})
        except Exception as error:  # noqa: BLE001 - as above
            bad[name] = place_of(error)
    return bad


def _set_aside(before: Aside | None, what: str, at: float) -> Aside:
    why = f"held: llmagent cannot decide about this service ({what})"
    return Aside(at, why, at) if before is None else replace(before, why=why, tried_at=at)


def _merged(
    state: HostState,
    decision: Decision,
    known: Mapping[str, Aside],
    out: frozenset[str],
    guard: Guard,
) -> tuple[Decision, Guard]:
    """Put back what was left out, and tell what is set aside now and what is not any more."""
    if not out and not known and not guard.aside:
        return decision, guard
    aside = {name: known[name] for name in known if name in out}
    before = state.services
    kept = {name: before.get(name, ServiceState(name, reason="configured")) for name in out}
    news = [
        News(name, "held", f"{held.why}. To do: {WHAT_TO_DO}", {"phase": Phase.HELD.value})
        for name, held in aside.items()
        if name not in guard.aside or guard.aside[name].why != held.why
    ]
    news += [
        News(name, "decided", "llmagent can decide about this service again")
        for name in guard.aside
        if name not in aside and name in decision.state.services
    ]
    after = replace(decision.state, services={**decision.state.services, **kept})
    whole = replace(decision, state=after, news=(*decision.news, *news))
    return whole, replace(guard, aside=aside)


def _left_out(
    state: HostState, observation: Observation, guard: Guard, error: Exception
) -> tuple[Decision, Guard]:
    """Leave an observation out of which nothing follows but an exception; tell it once."""
    why = f"{type(observation).__name__} is left out: {place_of(error)}; report it as a fault"
    if why in guard.told or len(guard.told) >= MOST_TOLD:
        return Decision(state), guard
    news = (News("", "effector", f"llmagent cannot decide: {why}"),)
    return Decision(state, (), news), replace(guard, told=guard.told | {why})
