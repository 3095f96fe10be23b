# SPDX-License-Identifier: Apache-2.0
"""Makes the faults of a night happen in the world."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Protocol, assert_never

from agent.core.failures import EnginePhase, FailureClass
from agent.core.numbers import Numbers
from agent.core.settings import Settings
from tests.nights.engine import BROKEN_FLAG, Doom, Run
from tests.nights.faults import Fault, What
from tests.nights.world import Cause, World

F, P = FailureClass, EnginePhase
PEAK_SECONDS = 300.0

NUMBERS: Mapping[FailureClass, Numbers] = {
    F.PORT_IN_USE: Numbers(port=8000),
    F.DISK_FULL: Numbers(required_mib=15300.0, free_mib=41.5),
    F.TP_NOT_DIVISIBLE: Numbers(attention_heads=28, tensor_parallel_size=3),
    F.MAX_MODEL_LEN_TOO_BIG: Numbers(max_model_len=131072, derived_max_model_len=8192),
    F.NO_KERNEL_IMAGE: Numbers(capability=120),
    F.QUANT_UNSUPPORTED_DEVICE: Numbers(minimum_capability=89, capability=80),
    F.DRIVER_TOO_OLD: Numbers(driver_cuda=12040),
    F.HOST_OOM_KILLED: Numbers(pid=4242, rss_kib=61_000_000),
    F.MEM_PROFILING_RACE: Numbers(initial_free_gib=20.1, free_gib=22.4),
}
"""What the messages of these classes carry."""

AT_LOAD = frozenset(
    {F.WEIGHTS_CORRUPT, F.WEIGHTS_MISSING, F.WEIGHTS_MISMATCH, F.DISK_FULL, F.NO_KERNEL_IMAGE}
)
"""Classes that show while the weights are loaded; the others show at once."""

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


def numbers_of(failure: FailureClass) -> Numbers:
    if failure.value.startswith("xid-") and failure is not F.XID_OTHER:
        return Numbers(xid=int(failure.value[4:]), gpu=0)
    return NUMBERS.get(failure, Numbers())


def _doom(failure: FailureClass | None, *, person: bool = False) -> Doom:
    if failure is F.HOST_OOM_KILLED:
        return Doom(None, numbers_of(failure), status=9, result="oom-kill")
    if failure is None or failure is F.ENGINE_DEAD:
        return Doom(failure, status=0, result="success")
    return Doom(failure, numbers_of(failure), person)


class Happenings:
    """Puts each fault on the clock, and its end."""

    def __init__(self, world: World, agent: AgentTroubles, faults: tuple[Fault, ...]) -> None:
        self._world = world
        self._agent = agent
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
            self._world.die(run, doom or _doom(None))

    def _happen(self, fault: Fault) -> None:
        world, agent = self._world, self._agent
        self._struck(fault, "begins")
        match fault.what:
            case What.DIES:
                doom = _doom(fault.failure)
                if fault.size:
                    only = frozenset({fault.service})
                    world.causes.append(Cause(doom, P.LOADING, only, left=int(fault.size)))
                self._dies(fault, doom)
            case What.LASTS | What.PERSON:
                doom = _doom(fault.failure, person=fault.what is What.PERSON)
                phase = P.LOADING if fault.failure in AT_LOAD else P.STARTING
                cause = Cause(doom, phase, frozenset({fault.service}))
                self._in_force(fault, cause, doom)
            case What.GPU_LOST:
                doom = _doom(fault.failure, person=True)
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
                self._edit(fault.service, extra_args=(BROKEN_FLAG,))
                self._until(fault)
            case What.EDIT:
                self._good_edit(fault)
            case What.REFUSED_EDIT:
                agent.refused_edit()
            case What.STOP:
                self._operator_stops(fault)
            case What.RESTART:
                if fault.service not in world.unwanted and world.up:
                    world.start(fault.service, self._on_disk(fault))
            case What.TAKEN_OVER:
                self._taken_over(fault, "/etc/systemd/system/theirs.service")
                self._until(fault)
            case What.REBOOT:
                world.reboot()
            case What.MISMATCH:
                agent.mismatch(fault.service, on=True)
                self._dies(fault)
                self._until(fault)
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
                self._edit(fault.service, environment={"MENDED": str(self._edits)})
            case What.PERSON:
                self._operator_starts(fault)
            case What.GPU_LOST:
                world.reboot()
            case What.BAD_EDIT:
                self._edit(fault.service, extra_args=())
            case What.NEIGHBOUR:
                world.take(f"neighbour {fault.at:.0f}", 0.0)
            case What.SLOW_RELEASE:
                world.release_seconds = 1.0
            case What.BUSY:
                self._calm(fault)
            case What.STOP:
                self._operator_starts(fault)
            case What.TAKEN_OVER:
                world.unwanted.discard(fault.service)  # the name is given back to be used
                self._taken_over(fault, "")
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
            self._operator_starts(fault)

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
        if run is not None and run.alive:
            run.pace(self._world.clock.now, run.rate)
            run.stuck = True
            self._world.book()
            self._world.keeper.engine_moved(run)

    def _busy(self, fault: Fault) -> None:
        run = self._run(fault)
        if run is None or not run.alive:
            return
        match fault.how:
            case "long queue":
                run.queued = True
                run.pace(self._world.clock.now, 900.0)
            case "long prefill":
                run.pace(self._world.clock.now, 0.0)
            case _:
                run.silent = True
        self._world.keeper.engine_moved(run)
        self._until(fault)

    def _calm(self, fault: Fault) -> None:
        run = self._run(fault)
        if run is not None and run.ready:
            run.queued = run.silent = False
            run.pace(self._world.clock.now, self._world.load)
            self._world.keeper.engine_moved(run)

    # --- the operator ---

    def _edit(self, service: str, **changed: object) -> None:
        policy = self._world.policies[service]
        settings = replace(policy.settings, **changed)  # type: ignore[arg-type]
        self._world.policies[service] = replace(policy, settings=settings)
        self._world.say(f"the operator edits {service}: {changed}")
        self._world.keeper.edited(service)

    def _good_edit(self, fault: Fault) -> None:
        values = {
            "max_num_seqs": 16 + 16 * int(fault.size * 8),
            "max_model_len": 2048 * (2 + int(fault.size * 4)),
            "gpu_memory_utilization": 0.80 + round(fault.size * 0.1, 2),
        }
        if len(self._world.policies) == 1:
            self._edit(fault.service, **{fault.how: values[fault.how]})

    def _on_disk(self, fault: Fault) -> Settings:
        return self._world.disk.get(fault.service, self._world.policies[fault.service].settings)

    def _operator_stops(self, fault: Fault) -> None:
        """A stop shows only where something runs; the agent hears of no other."""
        world = self._world
        if fault.service in world.runs and world.up:
            world.unwanted.add(fault.service)
            world.book()
            world.say(f"the operator stops {fault.service}")
            world.stop(fault.service, kill=False)
            self._until(fault)

    def _operator_starts(self, fault: Fault) -> None:
        world = self._world
        world.unwanted.discard(fault.service)
        if fault.service not in world.runs and world.up:
            world.say(f"the operator starts {fault.service}")
            world.start(fault.service, self._on_disk(fault))

    def _taken_over(self, fault: Fault, path: str) -> None:
        world = self._world
        world.units[fault.service] = replace(world.unit(fault.service), foreign=path)
        run = self._run(fault)
        if run is not None:
            run.unit = replace(run.unit, foreign=path)
        world.keeper.unit_changed(fault.service)
