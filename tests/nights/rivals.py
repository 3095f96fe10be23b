# SPDX-License-Identifier: Apache-2.0
"""Who else could look after the same night: one that knows everything, and systemd alone."""

from __future__ import annotations

from agent.core.state.steering.requests import (
    Request,
)
from tests.nights.engine import Run
from tests.nights.world import World


class Untroubled:
    """What only llmagent can suffer does not concern these."""

    def killed(self, *, acting: bool) -> None: ...
    def loses_an_action(self, *, silently: bool) -> None: ...
    def journal_gone(self, *, gone: bool) -> None: ...
    def stale_news(self, *, on: bool) -> None: ...
    def refused_edit(self) -> None: ...
    def mismatch(self, service: str, *, on: bool) -> None: ...
    def operator_asks(self, request: Request) -> None: ...
    def engine_moves(self, run: Run) -> None: ...


class AllKnowing(Untroubled):
    """Starts at once, with settings that fit, as soon as the cause allows; an edit that cannot work
    is not taken."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._going: set[str] = set()
        self._asked = dict(world.policies)

    def begin(self) -> None:
        self._care()

    def _care(self) -> None:
        if not self._world.up:
            return
        for service in self._world.policies:
            run = self._world.runs.get(service)
            if service in self._world.unwanted or service in self._going:
                continue
            if run is None or run.stuck:
                self._bring_back(service)

    def _bring_back(self, service: str) -> None:
        settings = self._world.could_start(service)
        if settings is None:
            if service in self._world.runs or self._world.unit(service).pending_restart:
                self._world.stop(service, kill=True)
            return
        self._going.add(service)
        self._world.stop(service, kill=True, done=lambda ran: self._go(service, ran=ran))

    def _go(self, service: str, *, ran: bool) -> None:
        settings = self._world.could_start(service) if ran else None
        if settings is None or service in self._world.unwanted or not self._world.up:
            self._going.discard(service)
            return
        self._world.start(service, settings, lambda _ran: self._going.discard(service))

    def unit_changed(self, service: str) -> None:
        if self._world.unit(service).down:
            self._care()

    def engine_moved(self, run: Run) -> None:
        if run.stuck:
            self._care()

    def memory_changed(self) -> None:
        self._care()

    def edited(self, service: str) -> None:
        settings = self._world.could_start(service)
        if settings is None:
            self._world.policies[service] = self._asked[service]
            self._care()
            return
        self._asked[service] = self._world.policies[service]
        if service not in self._world.unwanted:
            self._world.start(service, settings)

    def rebooted(self) -> None:
        self._going.clear()
        self._care()


class SystemdAlone(Untroubled):
    """A unit that somebody wrote by hand, with Restart=always: enabled, restarted when edited."""

    def __init__(self, world: World) -> None:
        self._world = world

    def begin(self) -> None:
        for service, policy in self._world.policies.items():
            self._world.start(service, policy.settings)

    def unit_changed(self, service: str) -> None: ...
    def engine_moved(self, run: Run) -> None: ...
    def memory_changed(self) -> None: ...

    def edited(self, service: str) -> None:
        if service not in self._world.unwanted:
            self._world.start(service, self._world.policies[service].settings)

    def rebooted(self) -> None:
        self.begin()
