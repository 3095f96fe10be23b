# SPDX-License-Identifier: Apache-2.0
"""One decision in the making: the state so far, the actions and the news."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from agent.core.hub.cache import always_online
from agent.core.measures import HOUR_SECONDS
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.actions import Action, Asked, Start, Stop, WriteUnit
from agent.core.state.card import Card
from agent.core.state.held import Held
from agent.core.state.host import Decision, HostState, News
from agent.core.state.phases import Phase, Then
from agent.core.state.policy import HostPolicy
from agent.core.state.service import Live, ServiceState
from agent.core.state.steering.wishes import Pause, pause_in_force
from agent.core.unit.text import override_note

AGENT = ""
"""The service name of news about no service."""


class Turn:
    """Collects what one observation leads to; only the deciding thread has one, and briefly."""

    def __init__(self, state: HostState, policy: HostPolicy, at: float) -> None:
        self.policy = policy
        self.at = at
        self._boot_id, self._booted_at = state.boot_id, state.booted_at
        self._next_action_id = state.next_action_id
        self._services = dict(state.services)
        self._cards = dict(state.cards)
        self.gpus = state.gpus
        self.started_at = state.started_at
        self.findings = state.findings
        self.strangers = state.strangers
        self.pause = state.pause
        self.may_start = state.may_start
        self.outbox = state.outbox
        self._actions: list[Action] = []
        self._news: list[News] = []

    @property
    def services(self) -> Mapping[str, ServiceState]:
        """The services as they are at this point of the decision."""
        return self._services

    @property
    def cards(self) -> Mapping[str, Card]:
        """The GPUs by UUID as they are at this point of the decision."""
        return self._cards

    def put_card(self, card: Card) -> None:
        """Remember the GPU's new state."""
        self._cards[card.uuid] = card

    def drop_card(self, uuid: str) -> None:
        """Forget a GPU."""
        del self._cards[uuid]

    def policy_of(self, s: ServiceState) -> ServicePolicy:
        """Return what is asked of the service now: agent.toml's, or what was good before it."""
        return s.in_force(self.policy.services[s.name])

    def put(self, s: ServiceState) -> None:
        """Remember the service's new state."""
        self._services[s.name] = s

    def drop(self, name: str) -> None:
        """Forget a service that is no longer configured."""
        del self._services[name]

    def pause_of(self, s: ServiceState) -> Pause | None:
        """Return the pause that the service is in, None where it is in none.

        Its own, the host's, or that of another host whose ranks serve with it: of two the one that
        ends later counts.
        """
        return pause_in_force((s.pause, self.pause, *_pauses_elsewhere(s)), self.at)

    def leave_alone(self, s: ServiceState, what: str, why: str) -> ServiceState:
        """Tell, once, what would be done to a service that is paused; `what` names it."""
        if s.live.left_alone == what:
            return s
        self.tell(s.name, "left-alone", f"paused, so it is left alone: {why}")
        return replace(s, live=replace(s.live, left_alone=what))

    def boot(self, boot_id: str, booted_at: float) -> float:
        """Remember which boot of the host this is; return by how much its clock was set since."""
        known = boot_id == self._boot_id and booted_at > 0.0 and self._booted_at > 0.0
        set_by = booted_at - self._booted_at if known else 0.0
        self._boot_id, self._booted_at = boot_id, booted_at
        return set_by

    def do(self, action: Action) -> None:
        """Add an action; it is carried out after the decision is recorded."""
        self._actions.append(action)

    def tell(self, service: str, kind: str, message: str, **data: object) -> None:
        """Add a line to the history."""
        self._news.append(News(service, kind, message, data))

    def enter(self, s: ServiceState, phase: Phase, kind: str, why: str) -> ServiceState:
        """Return the state in `phase`; the sentence `why` goes to history, log and status alike."""
        self.tell(s.name, kind, why, phase=phase.value)
        return s.enter(phase, self.at, why)

    def hold(self, s: ServiceState, held: Held) -> ServiceState:
        """Return the service held; what asks for it and what to do go to history and status."""
        why = f"held: {held.why}"
        self.tell(s.name, "held", f"{why}. To do: {held.what_to_do}", phase=Phase.HELD.value)
        return replace(s.enter(Phase.HELD, self.at, why), held=held, asked=None)

    def decision(self) -> Decision:
        """Return what came of it."""
        state = HostState(
            self._boot_id,
            self._next_action_id,
            dict(self._services),
            self.gpus,
            dict(self._cards),
            self.started_at,
            self.findings,
            self.strangers,
            self.pause,
            outbox=self.outbox,
            booted_at=self._booted_at,
        )
        return Decision(state, tuple(self._actions), tuple(self._news))

    # --- the actions that are remembered before they are done ---

    def write_unit(self, s: ServiceState) -> None:
        """Bring the unit on disk to what the next start shall use."""
        self.do(WriteUnit(s.name, self.effective(s), self.policy.engines[s.name], notes_of(s)))

    def effective(self, s: ServiceState) -> Settings:
        """Return the settings asked for now with the learned ones put over them."""
        learned = {name: override.running for name, override in s.learned.overrides.items()}
        settings = self.policy_of(s).settings.with_overrides(learned)
        return always_online(settings) if s.fetch.online else settings

    def start(self, s: ServiceState, why: str) -> ServiceState:
        """Ask for a start with the effective settings."""
        settings = self.effective(s)
        action_id = self.take_id()
        engine = self.policy.engines[s.name]
        self.do(Start(s.name, action_id, settings, engine, notes_of(s), why))
        self.tell(s.name, "start", f"start {settings.unit}", phase=Phase.STARTING.value)
        s = s.enter(Phase.STARTING, self.at, why)
        return replace(
            s,
            asked=Asked(action_id, self.at, stop=False),
            running=settings,
            recent_starts=(*(t for t in s.recent_starts if t > self.at - HOUR_SECONDS), self.at),
            died=None,
            restart_wanted="",
            learned=replace(s.learned, refetch=""),
            fetch=replace(s.fetch, satisfied=False, attempts=0),
            live=Live(unit=s.live.unit, activity_at=self.at),
        )

    def stop(self, s: ServiceState, why: str, *, then: Then, kill: bool = False) -> ServiceState:
        """Ask for a stop; the phase is the caller's to set."""
        action_id = self.take_id()
        self.do(Stop(s.name, action_id, kill, why))
        return replace(s, asked=Asked(action_id, self.at, stop=True, then=then))

    def take_id(self) -> int:
        """Return the number of the next action; it names the action in what comes of it."""
        action_id, self._next_action_id = self._next_action_id, self._next_action_id + 1
        return action_id


def _pauses_elsewhere(s: ServiceState) -> Iterator[Pause]:
    """Yield the pauses of the other hosts of its group: without their ranks nothing can be done."""
    if s.group is None:
        return
    for seen in s.group.live.peers.values():
        if seen.member is not None and seen.member.paused_by:
            until = seen.at + seen.member.paused_seconds
            yield Pause(seen.at, until, f"{seen.member.paused_by} on {seen.member.host}")


def notes_of(s: ServiceState) -> tuple[str, ...]:
    """Return a sentence for all that differs from agent.toml, for status and the unit's comment."""
    learned = (
        override_note(name, o.asked, o.running, o.why) for name, o in s.learned.overrides.items()
    )
    return (*learned,) if s.rolled_back is None else (s.rolled_back.note, *learned)
