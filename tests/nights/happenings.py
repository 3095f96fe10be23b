# SPDX-License-Identifier: Apache-2.0
"""Makes the faults of a night happen in the world."""

from __future__ import annotations

import math
from functools import partial
from typing import Protocol, assert_never

from agent.core.diagnosis.numbers import Numbers
from agent.core.failures.classes import EnginePhase, FailureClass
from agent.core.state.steering.requests import (
    AskPause,
    AskRestart,
    Request,
)
from tests.nights.dooms import AT_LOAD, doom_of, numbers_of
from tests.nights.engine import BROKEN_FLAG, Doom, Run
from tests.nights.faults import Fault, What
from tests.nights.ground import Cause
from tests.nights.operator import Operator
from tests.nights.world import World

F, P = FailureClass, EnginePhase
PEAK_SECONDS = 300.0

HARMLESS = frozenset(
    {What.BUSY, What.EDIT, What.REFUSED_EDIT, What.AGENT_KILLED, What.TAKEN_OVER, What.STOP}
)
ALL_OVER = frozenset({What.REBOOT, What.GPU_LOST, What.NEIGHBOUR})


class AgentTroubles(Protocol):
    """What only llmagent can suffer; its rivals do not mind."""

    def killed(self, *, acting: bool) -> None: ...
    def loses_an_action(self, *, silently: bool) -> None: ...
    def journal_gone(self, *, gone: bool) -> None: ...
    def stale_news(self, *, on: bool) -> None: ...
    def refused_edit(self) -> None: ...
    def mismatch(self, service: str, *, on: bool) -> None: ...
    def operator_asks(self, request: Request) -> None: ...


class Happenings:
    """Puts each fault on the clock, and its end."""

    def __init__(self, world: World, agent: AgentTroubles, faults: tuple[Fault, ...]) -> None:
        self._world = world
        self._agent = agent
        self._operator = Operator(world)
        self._edits = 0
        self.last_at = world.clock.now
        """When something happened last, an end included."""
        began = world.clock.now
        for fault in faults:
            world.clock.at(began + fault.at, partial(self._happen, fault))

    def _until(self, fault: Fault, end: Cause | None = None) -> None:
        """Have the fault end in its time."""
        if math.isinf(fault.seconds):
            return

        def over() -> None:
            self._struck(fault, "is over")
            self._end(fault, end)

        self._world.clock.after(fault.seconds, over)

    def _struck(self, fault: Fault, how: str) -> None:
        self.last_at = self._world.clock.now
        self._world.book()
        if how == "begins":
            self._blame(fault)
        self._world.say(f"*** {fault.what} {how} ({fault.failure or fault.how or fault.service})")

    def _blame(self, fault: Fault) -> None:
        """Book what is lost from now on; nothing on what did no harm to what was down already."""
        concerned = tuple(self._world.policies) if fault.what in ALL_OVER else (fault.service,)
        for service in concerned:
            run = self._world.runs.get(service)
            if fault.what not in HARMLESS or (run is not None and run.alive):
                self._world.blame[service] = fault.what.value

    def _run(self, fault: Fault) -> Run | None:
        return self._world.runs.get(fault.service)

    def _dies(self, fault: Fault, doom: Doom | None = None) -> None:
        run = self._run(fault)
        if run is not None:
            self._world.die(run, doom or doom_of(None))

    def _happen(self, fault: Fault) -> None:
        world, agent = self._world, self._agent
        self._struck(fault, "begins")
        match fault.what:
            case What.DIES:
                doom = doom_of(fault.failure)
                if fault.size:
                    only = frozenset({fault.service})
                    world.causes.append(Cause(doom, P.LOADING, only, left=int(fault.size)))
                self._dies(fault, doom)
            case What.LASTS | What.PERSON:
                doom = doom_of(fault.failure, person=fault.what is What.PERSON)
                phase = P.LOADING if fault.failure in AT_LOAD else P.STARTING
                cause = Cause(doom, phase, frozenset({fault.service}))
                self._in_force(fault, cause, doom)
            case What.GPU_LOST:
                doom = doom_of(fault.failure, person=True)
                self._in_force(fault, Cause(doom, until_reboot=True), doom)
                for run in tuple(world.runs.values()):
                    world.die(run, doom)
            case What.NEIGHBOUR:
                world.take(f"neighbour {fault.at:.0f}", fault.size)
                self._dies(fault)
                self._until(fault)
            case What.GROWS:
                self._grow(fault)
            case What.RUNTIME_PEAK:
                self._peak(fault, self._world.clock.now + fault.seconds)
            case What.HANGS:
                self._hang(fault)
            case What.HANGS_AT_READY:
                world.hangs_at_ready.add(fault.service)
                self._dies(fault)
            case What.STALLS:
                world.stalls.append((fault.service, EnginePhase(fault.how)))
                self._dies(fault)
            case What.SLOW_RELEASE:
                world.release_seconds = fault.size
                self._dies(fault)
                self._until(fault)
            case What.BUSY:
                self._busy(fault)
            case What.BAD_EDIT:
                assert fault.failure is not None
                doom = Doom(fault.failure, numbers_of(fault.failure), person=True, status=2)
                only = frozenset({fault.service})
                world.causes.append(Cause(doom, services=only, needs_flag=True))
                self._operator.edit(fault.service, extra_args=(BROKEN_FLAG,))
                self._until(fault)
            case What.EDIT:
                self._operator.good_edit(fault)
            case What.REFUSED_EDIT:
                agent.refused_edit()
            case What.STOP:
                if self._operator.stops(fault):
                    self._until(fault)
            case What.RESTART:
                if fault.service not in world.unwanted and world.up:
                    world.start(fault.service, self._operator.on_disk(fault))
            case What.TAKEN_OVER:
                self._operator.takes_over(fault, "/etc/systemd/system/theirs.service")
                self._until(fault)
            case What.REBOOT:
                world.reboot()
            case What.MISMATCH:
                agent.mismatch(fault.service, on=True)
                self._dies(fault)
                self._until(fault)
            case What.PAUSED:
                service = fault.service if fault.how == "service" else ""
                agent.operator_asks(AskPause(service, fault.seconds))
                self._until(fault)
            case What.PLANNED:
                later = 12 * 3600.0 if fault.how == "later" else None
                when_idle = fault.how == "when idle"
                agent.operator_asks(AskRestart(fault.service, later, when_idle=when_idle))
            case What.AGENT_KILLED:
                agent.killed(acting=False)
            case What.AGENT_KILLED_ACTING:
                agent.killed(acting=True)
                self._dies(fault)
            case What.ACTION_LOST:
                agent.loses_an_action(silently=fault.how == "silently")
                self._dies(fault)
            case What.JOURNAL_GONE:
                agent.journal_gone(gone=True)
                self._dies(fault)
                self._until(fault)
            case What.STALE_NEWS:
                agent.stale_news(on=True)
                self._dies(fault)
                self._until(fault)
            case _:
                assert_never(fault.what)

    def _end(self, fault: Fault, cause: Cause | None) -> None:
        world, agent = self._world, self._agent
        if cause is not None and cause in world.causes:
            world.causes.remove(cause)
            world.keeper.memory_changed()
        match fault.what:
            case What.PERSON if fault.how == "reload":
                self._edits += 1
                self._operator.edit(fault.service, environment={"MENDED": str(self._edits)})
            case What.PERSON:
                self._operator.starts(fault)
            case What.GPU_LOST:
                world.reboot()
            case What.BAD_EDIT:
                self._operator.edit(fault.service, extra_args=())
            case What.NEIGHBOUR:
                world.take(f"neighbour {fault.at:.0f}", 0.0)
            case What.SLOW_RELEASE:
                world.release_seconds = 1.0
            case What.BUSY:
                self._calm(fault)
            case What.STOP:
                self._operator.starts(fault)
            case What.TAKEN_OVER:
                self._operator.takes_over(fault, "")
            case What.MISMATCH:
                agent.mismatch(fault.service, on=False)
            case What.JOURNAL_GONE:
                agent.journal_gone(gone=False)
            case What.STALE_NEWS:
                agent.stale_news(on=False)
            case _:
                pass  # nothing is left of it but the cause

    def _in_force(self, fault: Fault, cause: Cause, doom: Doom) -> None:
        self._world.causes.append(cause)
        self._dies(fault, doom)
        self._until(fault, cause)

    def _grow(self, fault: Fault) -> None:
        needs = self._world.needs[fault.service]
        old = getattr(needs, fault.how)
        new = int(fault.size) if fault.how == "mamba_blocks" else old * fault.size
        setattr(needs, fault.how, new)
        self._dies(fault)
        if math.isinf(fault.seconds):
            return

        def over() -> None:
            """The operator puts the smaller model back, which a held service must be told."""
            self._struck(fault, "is over")
            setattr(needs, fault.how, old)
            self._operator.starts(fault)

        self._world.clock.after(fault.seconds, over)

    def _peak(self, fault: Fault, until: float) -> None:
        """Every few minutes more is needed for a moment than the reservation leaves."""
        world, run = self._world, self._run(fault)
        if run is not None and run.alive:
            left = world.free_for(fault.service) - world.held_by(fault.service)
            if fault.size > left:
                self.last_at = world.clock.now
                numbers = Numbers(tried_gib=round(fault.size, 2), total_gib=world.total)
                world.die(run, Doom(F.OOM_RUNTIME, numbers, status=0, result="success"))
        if world.clock.now < until:
            world.clock.after(PEAK_SECONDS, lambda: self._peak(fault, until))

    def _hang(self, fault: Fault) -> None:
        run = self._run(fault)
        if run is not None and run.alive and not run.asleep:  # what sleeps has nothing to hang in
            self._world.keeper.engine_moves(run)
            run.pace(self._world.clock.now, run.rate)
            if fault.how == "one engine of two":
                run.half_stuck = True
            else:
                run.stuck = True
            self._world.book()
            self._world.keeper.engine_moved(run)

    def _busy(self, fault: Fault) -> None:
        run = self._run(fault)
        if run is None or not run.alive:
            return
        self._world.keeper.engine_moves(run)
        match fault.how:
            case "long queue":
                run.queued = True
                run.pace(self._world.clock.now, 900.0)
            case "long prefill":
                run.pace(self._world.clock.now, 0.0)
            case "sleeping":
                run.pace(self._world.clock.now, 0.0)
                run.asleep, run.refuses = True, "the engine sleeps (POST /wake_up ends it)"
            case "paused":
                run.pace(self._world.clock.now, 0.0)
                run.refuses = "the engine is paused (POST /resume ends it)"
            case "locked by a key":
                run.refuses = "needs a key: api_key_file"
            case _:
                run.silent = True
        self._world.keeper.engine_moved(run)
        self._until(fault)

    def _calm(self, fault: Fault) -> None:
        run = self._run(fault)
        if run is not None and run.ready:
            run.queued = run.silent = run.asleep = False
            run.refuses = ""
            run.pace(self._world.clock.now, self._world.load)
            self._world.keeper.engine_moved(run)
