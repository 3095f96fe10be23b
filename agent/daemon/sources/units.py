# SPDX-License-Identifier: Apache-2.0
"""Reads the units' state on every signal of systemd and every few seconds anyway."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from agent.core.state.observations import UnitSeen
from agent.core.state.unit import Leftover, UnitFacts
from agent.daemon.clock import Clock
from agent.daemon.sources.thread import Emit
from agent.host.systemd import SystemdBus, UnitState, UnitWatch

READ_ALL_SECONDS = 5.0


class UnitSource:
    """One thread for all units: a bus of its own for signals, another for reading."""

    name = "systemd"

    def __init__(self, services: Sequence[str], units: Path, emit: Emit, clock: Clock) -> None:
        """`units` is the directory that holds the unit files which are ours."""
        self._units = units
        self._services = tuple(services)
        self._emit = emit
        self._clock = clock
        self._watch = UnitWatch(_units(self._services))
        self._bus = SystemdBus()
        self._read_all_at = 0.0

    def watch(self, services: Sequence[str]) -> None:
        """Look after these services from now on. From any thread."""
        self._services = tuple(services)
        self._watch.set_units(_units(self._services))
        self._read_all_at = 0.0

    def wake(self) -> None:
        """Read all units soon. From any thread."""
        self._read_all_at = 0.0
        self._watch.wake()

    def look(self) -> None:
        """Wait for a change or the next turn, then read what is due."""
        now = time.monotonic()
        changed = self._watch.wait(max(0.0, min(self._read_all_at - now, READ_ALL_SECONDS)))
        everything = time.monotonic() >= self._read_all_at
        if everything:
            self._read_all_at = time.monotonic() + READ_ALL_SECONDS
        for service in self._services:
            unit = f"{service}.service"
            if everything or unit in changed:
                self._emit(UnitSeen(self._clock(), service, self._read(unit)))

    def _read(self, unit: str) -> UnitFacts:
        facts = unit_facts(self._bus.read(unit), self._units)
        if not facts.down or facts.load_state != "loaded":
            return facts
        return replace(facts, leftovers=leftovers(self._bus.processes(unit)))

    def close(self) -> None:
        """Give the buses back."""
        self._watch.close()
        self._bus.close()


def _units(services: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{service}.service" for service in services)


def leftovers(processes: Iterable[tuple[int, str]]) -> tuple[Leftover, ...]:
    """Return the processes by name: the rest of a command line may hold a secret."""
    return tuple(Leftover(pid, Path(line.split(" ")[0]).name) for pid, line in processes)


def unit_facts(state: UnitState, units: Path) -> UnitFacts:
    """Return what the core needs of a unit's state."""
    file = Path(state.fragment_path).resolve() if state.fragment_path else None
    foreign = file is not None and file != units.resolve() / state.unit
    # systemd takes a link to /dev/null for a mask only some moments after it was made.
    masked = file == Path("/dev/null")
    return UnitFacts(
        active_state=state.active_state,
        sub_state=state.sub_state,
        result=state.result,
        exec_main_code=state.exec_main_code,
        exec_main_status=state.exec_main_status,
        main_pid=state.main_pid,
        invocation_id=state.invocation_id,
        n_restarts=state.n_restarts,
        load_state="masked" if masked else state.load_state,
        command_line=state.command_line,
        drop_ins=state.drop_in_paths,
        foreign=state.fragment_path if foreign else "",
        cpu_seconds=state.cpu_seconds,
    )
