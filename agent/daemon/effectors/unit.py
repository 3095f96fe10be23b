# SPDX-License-Identifier: Apache-2.0
"""Brings a unit file to what was decided and starts, stops or kills the unit."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from pathlib import Path
from typing import assert_never

from agent.core.state.actions import (
    EndReading,
    EndRun,
    LookAtPort,
    Reap,
    Start,
    Stop,
    TakeEvidence,
    WriteUnit,
)
from agent.core.state.observations import (
    ActionDone,
    Observation,
)
from agent.core.state.process import EvidenceTaken, PortSeen
from agent.core.unit.text import render_unit
from agent.daemon.clock import Clock
from agent.daemon.effectors.evidence import take_evidence
from agent.daemon.effectors.lane import HUNG_SECONDS
from agent.daemon.effectors.unit_writer import install_unit, user_of
from agent.host.machine.unit_of_process import processes_in_container
from agent.host.models.hub_cache import needs_no_hub
from agent.host.probes.port_holder import port_holder
from agent.host.systemd import JobResult, SystemdBus, SystemdError
from agent.host.systemd.unit_inputs import unit_inputs
from agent.places import AHEAD_UNIT

UnitAction = WriteUnit | Start | Stop | Reap | EndRun | EndReading | TakeEvidence | LookAtPort

START_SECONDS = 30.0
DRAIN_MARGIN_SECONDS = 20.0
AT_ONCE = 0.0
"""A start does not wait for the end of what reads ahead: it is told to end, and does."""


def longest(action: UnitAction) -> float:
    """Return the seconds within which the action has come back unless it hangs."""
    if isinstance(action, Start):
        return HUNG_SECONDS + action.settings.shutdown_timeout
    return START_SECONDS * 2


class UnitEffector:
    """Serves one lane, so that its bus has one thread. Each step may be repeated after a crash."""

    def __init__(
        self,
        units: Path,
        looked_at: Callable[[], None],
        last_lines: Callable[[], tuple[str, ...]],
        clock: Clock,
    ) -> None:
        """`looked_at` wakes the unit source, `last_lines` are those of the present run's log."""
        self._units = units
        self._looked_at = looked_at
        self._last_lines = last_lines
        self._clock = clock
        self._bus = SystemdBus()

    def carry_out(self, action: UnitAction) -> Observation | None:
        """Do it; the unit source is woken so that the result shows at once."""
        match action:
            case WriteUnit():
                self._write(action)
                return None
            case Start():
                self._write(action)
                # What is read ahead of a start must never be what keeps one from being made.
                with contextlib.suppress(SystemdError):
                    self._end_reading()
                patience = START_SECONDS + action.settings.shutdown_timeout + DRAIN_MARGIN_SECONDS
                return self._done(action, self._bus.restart(action.settings.unit, patience))
            case Stop():
                unit = f"{action.service}.service"
                if action.kill and self._bus.read(unit).main_pid:
                    self._bus.kill(unit, "all", signal.SIGKILL)
                return self._done(action, self._bus.stop(unit, START_SECONDS))
            case Reap():
                self._reap(f"{action.service}.service")
                return None
            case EndRun():
                unit = f"{action.service}.service"
                if self._bus.read(unit).invocation_id == action.invocation_id:
                    self._bus.kill(unit, "all", signal.SIGKILL)
                return None
            case EndReading():
                self._end_reading()
                return None
            case TakeEvidence():
                # The container's first: the unit may hold no more than docker's client.
                inside = processes_in_container(action.service)
                rows = self._bus.processes(f"{action.service}.service")
                pids = (*inside, *(pid for pid, _ in rows if pid not in inside))
                return take_evidence(action, pids, self._last_lines(), self._clock)
            case LookAtPort():
                holder = port_holder(action.port)
                return PortSeen(self._clock(), action.service, action.port, holder)
            case _:
                assert_never(action)

    def failed(self, action: UnitAction, detail: str) -> Observation:
        """Return what to tell when `carry_out` raised."""
        at, service = self._clock(), action.service
        match action:
            case WriteUnit() | Reap() | EndRun() | EndReading():
                return ActionDone(at, service, 0, succeeded=False, detail=detail)
            case Start() | Stop():
                return ActionDone(at, service, action.action_id, succeeded=False, detail=detail)
            case TakeEvidence():
                lines = self._last_lines()
                return EvidenceTaken(at, service, action.invocation_id, (), lines, detail)
            case LookAtPort():
                return PortSeen(at, service, action.port, None)
            case _:
                assert_never(action)

    def _write(self, action: WriteUnit | Start) -> None:
        settings, engine = action.settings, action.engine
        facts = unit_inputs(
            engine.read_paths,
            needs_no_hub=needs_no_hub(settings),
            container_user=user_of(settings),
        )
        text = render_unit(settings, engine, facts, action.notes)
        if settings.cluster is not None and settings.cluster.starts_ray:
            # Loaded by who meets other hosts by Ray: memory.
            from agent.core.unit.ray import ray_unit_name
            from agent.core.unit.ray_unit import render_ray_unit

            ray = self._units / ray_unit_name(settings)
            install_unit(self._bus, ray, render_ray_unit(settings, facts))
        install_unit(self._bus, self._units / settings.unit, text)

    def _end_reading(self) -> None:
        """End what reads ahead: an engine that loads wants disk and memory for itself."""
        if self._bus.read(AHEAD_UNIT).main_pid:
            self._bus.stop(AHEAD_UNIT, AT_ONCE)

    def _reap(self, unit: str) -> None:
        """Kill what is left in the unit's control group, unless somebody started it meanwhile.

        systemd sends the signal, so that it can reach nothing outside of that control group.
        """
        if self._is_down(unit) and self._bus.processes(unit) and self._is_down(unit):
            self._bus.kill(unit, "all", signal.SIGKILL)
        self._looked_at()

    def _is_down(self, unit: str) -> bool:
        state = self._bus.read(unit)
        ended = state.active_state in ("inactive", "failed") or state.pending_restart
        return ended and not state.main_pid

    def _done(self, action: Start | Stop, result: JobResult) -> Observation:
        self._looked_at()
        # A failed start job has run the unit; its state tells more than the job's result does.
        ran = result in (JobResult.DONE, JobResult.FAILED, JobResult.PENDING)
        return ActionDone(
            self._clock(),
            action.service,
            action.action_id,
            succeeded=ran,
            canceled=result is JobResult.CANCELED,
            detail="" if ran else f"systemd's job ended as {result.value}",
        )
