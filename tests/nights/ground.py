# SPDX-License-Identifier: Apache-2.0
"""What a night's host holds: services, their card's memory, why starts fail, what could start."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from agent.core.engine.install import Engine
from agent.core.failures.classes import EnginePhase, FailureClass
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.unit import UnitFacts
from agent.core.unit.text import RESTART_SECONDS
from tests.nights.clockwork import Clockwork
from tests.nights.engine import (
    ALL_LEVERS,
    BROKEN_FLAG,
    LEVERS,
    Doom,
    Needs,
    Run,
    graphs_of,
    settings_that_fit,
    utilization_of,
)
from tests.nights.ledger import Ledger

P = EnginePhase
ENGINE = Engine("0.32.0", has_vllm_metadata=True, flags=None)
MARGIN_GIB = 0.3
"""What llmagent leaves free beside the engine."""
DOWN = UnitFacts("inactive", "dead")


class Keeper(Protocol):
    """Who looks after the units."""

    def unit_changed(self, service: str) -> None: ...
    def engine_moves(self, run: Run) -> None: ...  # in a moment: what is seen of it until then
    def engine_moved(self, run: Run) -> None: ...
    def memory_changed(self) -> None: ...  # or another cause is over
    def edited(self, service: str) -> None: ...
    def rebooted(self) -> None: ...


@dataclass
class Cause:
    """Why starts fail, whatever memory there is, as long as it is in force.

    `left` counts the starts that it still ends, None for all. `services` is None for all of them.
    """

    doom: Doom
    phase: EnginePhase = P.STARTING
    services: frozenset[str] | None = None
    left: int | None = None
    until_reboot: bool = False
    needs_flag: bool = False

    def concerns(self, service: str, settings: Settings) -> bool:
        if self.left == 0 or (self.needs_flag and BROKEN_FLAG not in settings.extra_args):
            return False
        return self.services is None or service in self.services


@dataclass
class Ground:
    """What is there, before anybody starts anything.

    `policies` is agent.toml; `disk` the unit files; `restart_seconds` systemd's RestartSec=.

    `start_limit`: so many starts within so many seconds, then systemd gives up (None: never).
    """

    clock: Clockwork
    policies: dict[str, ServicePolicy]
    needs: dict[str, Needs]
    total: float = 24.0
    start_seconds: float = 60.0
    download_seconds: float = 0.0
    release_seconds: float = 1.0
    load: float = 30.0
    shape: str = ""
    """How services are run, as Night has it."""
    restart_seconds: float = float(RESTART_SECONDS)
    start_limit: tuple[int, float] | None = None
    boot: str = "boot-0"
    up: bool = True
    strangers: dict[str, float] = field(default_factory=dict)
    causes: list[Cause] = field(default_factory=list)
    stalls: list[tuple[str, EnginePhase]] = field(default_factory=list)
    hangs_at_ready: set[str] = field(default_factory=set)
    runs: dict[str, Run] = field(default_factory=dict)
    units: dict[str, UnitFacts] = field(default_factory=dict)
    disk: dict[str, Settings] = field(default_factory=dict)
    dooms: dict[str, Doom] = field(default_factory=dict)
    """How each run ended, by its InvocationID."""
    doomed_in: dict[str, EnginePhase] = field(default_factory=dict)
    unwanted: set[str] = field(default_factory=set)
    last_doom: dict[str, Doom] = field(default_factory=dict)
    blame: dict[str, str] = field(default_factory=dict)
    """What a service that is down is down for, as far as the night knows."""
    ledger: Ledger = field(default_factory=Ledger)
    tell: Callable[[float, str], None] | None = None
    """Hears what happens and when, where somebody wants to know."""
    keeper: Keeper = field(init=False)
    _ghosts: list[float] = field(default_factory=list)
    _turn: dict[str, int] = field(default_factory=dict)
    _canceled: dict[str, Callable[[bool], None]] = field(default_factory=dict)
    _begun: dict[str, list[float]] = field(default_factory=dict)
    _lines: dict[str, tuple[Settings, tuple[str, ...]]] = field(default_factory=dict)
    _count: int = 0

    def unit(self, service: str) -> UnitFacts:
        return self.units.get(service, DOWN)

    def moves(self, run: Run) -> bool:
        """Tell whether nobody has a reason to end what runs."""
        return run.moves

    def say(self, what: str) -> None:
        if self.tell is not None:
            self.tell(self.clock.now, what)

    def book(self) -> None:
        """Account for the time up to now."""
        for service in self.policies:
            run = self.runs.get(service)
            self.ledger.book(
                service,
                self.clock.now,
                wanted=service not in self.unwanted,
                serves=run is not None and run.alive,
                blame=self.blame.get(service, "first start"),
            )

    def held_by(self, service: str) -> float:
        run = self.runs.get(service)
        if run is None or not run.holds:
            return 0.0
        graphs = graphs_of(self.needs[service], run.settings)
        return utilization_of(run.settings) * self.total + graphs

    def free_for(self, service: str) -> float:
        """Return the GiB that a start of the service finds free."""
        others = sum(self.held_by(other) for other in self.runs if other != service)
        return self.total - 0.5 - sum(self.strangers.values()) - sum(self._ghosts) - others

    def could_start(self, service: str) -> Settings | None:
        """Return settings within the operator's limits that would start now; None for none."""
        return self._fitting(service, self.free_for(service))

    def could_start_with_room(self, service: str) -> Settings | None:
        """Return the same where as much stays free as llmagent leaves beside the engine.

        The remedy is the printed free memory less a margin: what fits only without it is no cure.
        """
        return self._fitting(service, self.free_for(service) - MARGIN_GIB)

    def could_start_alone(self, service: str) -> Settings | None:
        """Return the same as it would be without strangers and without the memory of the dead."""
        free = self.free_for(service) + sum(self._ghosts) + sum(self.strangers.values())
        return self._fitting(service, free)

    def _fitting(self, service: str, free: float) -> Settings | None:
        policy = self.policies[service]
        if self._causes(service):
            return None
        return settings_that_fit(
            self.needs[service], policy.settings, policy.recovery, self.total, free
        )

    def _causes(self, service: str) -> list[Cause]:
        """Return what ends every start of the service for now; not what ends only the next few."""
        settings = self.policies[service].settings
        return [c for c in self.causes if c.left is None and c.concerns(service, settings)]

    @property
    def card_is_lost(self) -> bool:
        return any(cause.until_reboot for cause in self.causes)

    def needs_person(self, service: str) -> bool:
        """Tell whether no start can succeed before a person did something."""
        if found := self._causes(service):
            return all(cause.doom.person for cause in found)
        return self.could_start_alone(service) is None

    def may_be_held(self, service: str) -> bool:
        """Tell whether nothing that the service's last failure is answered with can help."""
        if self.card_is_lost:
            return True
        doom = self.last_doom.get(service)
        if doom is None or doom.person or doom.short_of_memory is None:
            return doom is not None and doom.person
        levers = LEVERS.get(doom.failure or FailureClass.UNKNOWN, ALL_LEVERS)
        # A service that is down is to come back: its share is not there to be taken.
        others = [other for other in self.policies if other != service]
        asked_for = sum(utilization_of(self.policies[other].settings) for other in others)
        free = self.total * (1 - asked_for) - 0.5 - MARGIN_GIB
        limits, needs = self.policies[service].recovery, self.needs[service]
        asked = doom.short_of_memory
        return settings_that_fit(needs, asked, limits, self.total, free, levers) is None

    def take(self, stranger: str, gib: float) -> None:
        """Let somebody else hold so much of the card from now on, 0 for nothing."""
        self.strangers[stranger] = gib
        self.keeper.memory_changed()
