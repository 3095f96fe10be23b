# SPDX-License-Identifier: Apache-2.0
"""Holds what the agent does against what is true in the world."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.core.settings.service import TUNABLES, Settings, Tunable
from agent.core.state.actions import EndRun, Fetch, Reap, Start, Stop
from agent.core.state.host import Decision, HostState
from agent.core.state.phases import Phase
from agent.core.state.service import ServiceState
from agent.core.state.steering.asked import Answer
from agent.core.state.steering.requests import (
    AskPause,
    AskRestart,
    Request,
)
from agent.core.state.unit import UnitFacts
from tests.nights.promises import BrokenPromiseError, Watch, bound_seconds, check_limits
from tests.nights.world import World

if TYPE_CHECKING:
    from tests.nights.agent import LlmAgent

MOST_MAILS = 5
TOLD_SECONDS = 900.0
Tried = tuple[Tunable | None, ...]


class Watcher:
    """Sees every decision and, at any time, the whole world. Raises BrokenPromiseError."""

    def __init__(self, world: World, agent: LlmAgent) -> None:
        self._world = world
        self._agent = agent
        self.watches: dict[str, Watch] = {}
        self._edited: set[str] = set()
        self._known_off: set[str] = set()
        self._seen_foreign: set[str] = set()
        self._failed: dict[str, dict[Tried, float]] = {}
        self._last: dict[str, Tried] = {}
        self._judged: dict[str, str] = {}
        self._paused: dict[str, tuple[float, float]] = {}
        """When the last pause that was asked for begins and ends, by service; "" is the host."""
        self._worse_since: dict[str, float] = {}

    # --- what the agent knows ---

    def unit_seen(self, service: str, unit: UnitFacts) -> None:
        if not self._agent.up:
            return
        if unit.foreign:
            self._seen_foreign.add(service)
            return
        if service in self._seen_foreign:
            self._seen_foreign.remove(service)
            self._edited.add(service)  # what runs was not ours: it may be started anew
        s = self._agent.state.services.get(service)
        off = unit.active_state == "inactive" and service in self._world.unwanted
        if off and s is not None and s.asked is None:
            self._known_off.add(service)
        if unit.running:
            self._known_off.discard(service)

    def edited(self, service: str) -> None:
        self._edited.add(service)
        self._failed.pop(service, None)
        self._watch(service).forgiven.append(self._world.clock.now)

    def rebooted(self) -> None:
        self._known_off.clear()
        for service in self._world.policies:
            self._watch(service).forgiven.append(self._world.clock.now)

    def _watch(self, service: str) -> Watch:
        return self.watches.setdefault(service, Watch())

    # --- what it does ---

    def decided(self, before: HostState, decision: Decision) -> None:
        for line in decision.news:
            if line.kind in ("forgotten", "rolled-back"):
                self._failed.pop(line.service, None)
                self._last.pop(line.service, None)
        for action in decision.actions:
            match action:
                case Start():
                    now = decision.state.services[action.service]
                    self._start(before.services.get(action.service), now, action)
                case Stop():
                    self._stop(before.services.get(action.service), action)
                case Reap() | Fetch() | EndRun():
                    self._is_not_paused(action.service, "cleaned up or fetched for")
                case Answer() if action.done:
                    self._acknowledged(self._agent.asked[action.number])
                case _:
                    pass
        for name, s in decision.state.services.items():
            was = before.services.get(name)
            if s.phase is Phase.HELD and (was is None or was.phase is not Phase.HELD):
                self._held(s)

    def _acknowledged(self, request: Request) -> None:
        now = self._world.clock.now
        match request:
            case AskPause():
                self._paused[request.service] = (now, now + request.seconds)
            case AskRestart() if request.time_of_day is None or request.when_idle:
                self._world.unwanted.discard(request.service)
                self._known_off.discard(request.service)
                self.edited(request.service)
            case AskRestart():
                self.edited(request.service)
            case _:
                pass

    def _is_paused(self, service: str) -> bool:
        pauses = (self._paused.get(name, (0.0, 0.0)) for name in (service, ""))
        return any(since < self._world.clock.now < until for since, until in pauses)

    def _is_not_paused(self, service: str, how: str) -> None:
        if self._is_paused(service):
            raise BrokenPromiseError(f"paused: {service} was {how} in its pause")

    def _start(self, before: ServiceState | None, now: ServiceState, action: Start) -> None:
        service, world = action.service, self._world
        self._keeps_its_hands_off(service, "started")
        self._is_not_paused(service, "started")
        if service in self._known_off:
            raise BrokenPromiseError(f"operator: {service} was started after the operator's stop")
        run = world.runs.get(service)
        known = before is not None and run is not None and before.invocation_id == run.invocation
        if known and run is not None and world.moves(run) and service not in self._edited:
            raise BrokenPromiseError(f"busy: a healthy {service} was restarted: {action.reason}")
        check_limits(action.settings, now.in_force(self._agent.policies[service]))
        self._does_not_swing(service, action.settings)

    def carried_out(self, service: str) -> None:
        """Take note of a start that reached systemd: one that was lost is no restart."""
        self._edited.discard(service)
        self._watch(service).start(self._world.clock.now, self._agent.policies[service].recovery)

    def _does_not_swing(self, service: str, settings: Settings) -> None:
        """What failed is not tried again after something else, unless the memory changed."""
        free = self._world.free_for(service)
        doom = self._world.last_doom.get(service)
        failed = self._failed.setdefault(service, {})
        last = self._last.get(service)
        if last is not None and doom is not None and doom.numbers.total_gib is not None:
            failed[last] = free
        tried: Tried = tuple(getattr(settings, name) for name in TUNABLES)
        self._last[service] = tried
        if tried != last and abs(failed.get(tried, -99.0) - free) < 0.01:
            raise BrokenPromiseError(f"swing: {service} tries {tried} again, which failed before")

    def _stop(self, before: ServiceState | None, action: Stop) -> None:
        service = action.service
        self._keeps_its_hands_off(service, "stopped")
        run = self._world.runs.get(service)
        known = before is not None and run is not None and before.invocation_id == run.invocation
        again = before is not None and before.asked is not None
        if not again:
            self._is_not_paused(service, "stopped")
        if self._agent.is_blind:
            return  # a start whose log cannot be read shows no progress
        if action.kill and known and run is not None and self._world.moves(run) and not again:
            raise BrokenPromiseError(
                f"busy: {service} was killed while {run.phase}: {action.reason}"
            )

    def _keeps_its_hands_off(self, service: str, how: str) -> None:
        if service in self._seen_foreign:
            raise BrokenPromiseError(f"foreign: {service}.service of somebody else was {how}")

    def _held(self, s: ServiceState) -> None:
        if not s.what_to_do:
            raise BrokenPromiseError(f"held: {s.name} and nobody is told what to do")
        if s.foreign or self._world.may_be_held(s.name):
            return
        raise BrokenPromiseError(f"held: {s.name} without need of a person: {s.reason}")

    def _is_told_of(self, s: ServiceState) -> None:
        """A person hears of what waits for one, unless that night had its messages already."""
        long = self._world.clock.now - s.since > TOLD_SECONDS
        if s.phase is not Phase.HELD or not long or s.foreign or len(self._agent.mails) > 2:
            return
        if not any(f"{s.name} is held" in mail.body for mail in self._agent.mails.values()):
            raise BrokenPromiseError(f"told: {s.name} is held and nobody was told: {s.reason}")

    # --- what it does not do ---

    def look(self, last_happening: float) -> None:
        """Look whether each service is as it must be by now."""
        world, agent = self._world, self._agent
        if not (world.up and agent.up):
            return
        if len(agent.mails) > MOST_MAILS:
            raise BrokenPromiseError(f"told: {len(agent.mails)} messages in one night")
        for service, policy in world.policies.items():
            self._is_told_of(agent.state.services[service])
            bound = bound_seconds(
                policy.recovery, world.start_seconds + world.download_seconds, len(world.policies)
            )
            if world.clock.now - last_happening <= bound:
                continue
            s, run = agent.state.services[service], world.runs.get(service)
            if self._is_paused(service):
                continue
            if s.foreign or service in world.unwanted:
                continue
            if s.phase is Phase.HELD and world.may_be_held(service):
                continue
            serves = run is not None and run.alive and s.phase is Phase.SERVING
            if world.could_start_with_room(service) is not None and not serves:
                late = f"{bound:.0f} s after the last fault"
                raise BrokenPromiseError(f"back: {service} is {s.phase} {late}: {s.reason}")
            alone = len(world.policies) == 1  # two services may hold each other's memory
            if alone and run is None and world.needs_person(service) and s.phase is not Phase.HELD:
                what = f"held: only a person can help {service}, and it is {s.phase}"
                raise BrokenPromiseError(f"{what}: {s.reason}")
