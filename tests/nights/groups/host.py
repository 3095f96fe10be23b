# SPDX-License-Identifier: Apache-2.0
"""One host of a group: its rank waits for the others while it starts, and lives by them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from agent.core.cluster.group import FRESH_SECONDS
from agent.core.cluster.judge import HEAD_AWAY_SECONDS
from agent.core.failures.classes import EnginePhase
from agent.core.settings.service import ServicePolicy
from agent.core.state.unit import UnitFacts
from tests.nights.clockwork import Clockwork
from tests.nights.engine import TIMELINE, Doom, Needs, Run
from tests.nights.world import BOOT_SECONDS, World

if TYPE_CHECKING:
    from tests.nights.groups.engines import Engines

SERVICE = "vllm"
ENDS_SECONDS = 3.0
"""From the end of a unit's main process to that of its last one (vLLM 0.32, an idle host)."""
ELSEWHERE = "1"
"""The label of an engine that another host computes, behind the head's front end."""
MEETS = next(i for i, (phase, _) in enumerate(TIMELINE) if phase is EnginePhase.LOADING)
"""Where in a start the ranks wait for each other."""


class Rank(World):
    """A host with one rank; `booked` hears of each change that may change who serves."""

    def __init__(
        self,
        clock: Clockwork,
        number: int,
        policy: ServicePolicy,
        engines: Engines,
        booked: Callable[[], None],
        *,
        start_seconds: float,
        load: float,
    ) -> None:
        super().__init__(
            clock,
            {SERVICE: policy},
            {SERVICE: Needs(weights=9.0)},
            start_seconds=start_seconds,
            load=load,
        )
        self.number = number
        self.engines = engines
        self._booked = booked
        self.boot = f"boot-{number}"
        self.blind_since: float | None = None
        """Since when this host can open no connection to the head."""
        self._hung_in: tuple[Run, int] | None = None
        """A start that hung, and in which step."""
        engines.ranks[number] = self

    @property
    def run(self) -> Run | None:
        """What runs here, in whatever state."""
        return self.runs.get(SERVICE)

    def unit(self, service: str) -> UnitFacts:
        unit = super().unit(service)
        return (
            replace(unit, cpu_seconds=self.clock.now) if self.engines.spins(self.number) else unit
        )

    def book(self) -> None:
        super().book()
        self._booked()

    def moves(self, run: Run) -> bool:
        """Tell whether nobody has a reason to end it: it moves, and so do those it depends on.

        A rank from which nothing shows the head for long is given up, though it may be well.
        """
        crew, since = self.engines.crew_of(self.number), self.blind_since
        blind = since is not None and self.clock.now - since >= HEAD_AWAY_SECONDS - FRESH_SECONDS
        whole = crew is not None and self.engines.is_whole(crew)
        return super().moves(run) and whole and not blind

    # --- the engine's life ---

    def _enter(self, run: Run, index: int) -> None:
        if self.run is run and index == MEETS and self.engines.crew_of(self.number) is None:
            self.engines.join(self.number, run)
            return
        if run.stuck:
            self._hung_in = (run, index)
        super()._enter(run, index)

    def go_on(self, run: Run) -> None:
        """All have met."""
        if self.run is run:
            super()._enter(run, MEETS)

    def _ready(self, run: Run) -> None:
        run.phase = EnginePhase.SERVING
        self.engines.loaded(self.number)
        self.book()

    def takes_requests(self, run: Run) -> None:
        """The head's front end opens: all ranks have loaded their part."""
        if self.run is run:
            super()._ready(run)

    def dies_later(self, run: Run, seconds: float, doom: Doom, *, if_stuck: bool = False) -> None:
        """Have the run end in a while, `if_stuck`: unless it moves again by then."""

        def end() -> None:
            if self.run is run and (run.stuck or not if_stuck):
                self.die(run, doom)

        self.clock.after(seconds, end)

    def hangs(self, run: Run, *, half: bool) -> None:
        """Nothing moves from now on, or nothing of one engine of several."""
        if self.run is not run or run.stuck or run.half_stuck:
            return
        if run.ready:
            self.keeper.engine_moves(run)
            run.pace(self.clock.now, run.rate)
        run.stuck, run.half_stuck = not half, half
        run.hung_label = ELSEWHERE
        self.book()
        self.keeper.engine_moved(run)

    def moves_again(self, run: Run) -> None:
        """What hung behind a cut cable goes on."""
        if self.run is run:
            run.stuck = run.half_stuck = False
            run.pace(self.clock.now, run.rate)
            self.book()
            self.keeper.engine_moved(run)
        if self._hung_in is not None and self._hung_in[0] is run:
            self._enter(*self._hung_in)
            self._hung_in = None

    def die(self, run: Run, doom: Doom) -> None:
        """The main process ends at once, and what is left of the unit some seconds later."""
        if self.run is not run or self.unit(SERVICE).active_state == "deactivating":
            return
        self.engines.gone(self.number, run)
        self._show(
            SERVICE, replace(run.unit, active_state="deactivating", sub_state="stop-sigterm")
        )
        self.clock.after(ENDS_SECONDS, partial(super().die, run, doom))

    def _end(self, run: Run) -> None:
        super()._end(run)
        self.engines.gone(self.number, run)

    def reboot(self, seconds: float = BOOT_SECONDS) -> None:
        lost = tuple(self.runs.values())
        super().reboot(seconds)
        for run in lost:
            self.engines.gone(self.number, run)
        self.book()
