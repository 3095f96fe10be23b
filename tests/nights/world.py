# SPDX-License-Identifier: Apache-2.0
"""A host in virtual time: systemd's units, the engines in them, one GPU, and what goes wrong.

The world knows nothing of who looks after it: llmagent, an all-knowing policy and systemd's own
Restart= live through the same nights in it. Nothing in it is random.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from agent.core.engine.command_line import command_line
from agent.core.failures.classes import EnginePhase
from agent.core.settings.service import Settings
from agent.core.state.unit import UnitFacts
from agent.core.unit.text import STOP_MARGIN_SECONDS
from tests.nights.engine import (
    LOCKED,
    NEVER_REACHED,
    TIMELINE,
    Doom,
    Run,
    memory_doom,
)
from tests.nights.ground import DOWN, ENGINE, Ground, P

FAILS_AFTER = 12.0
"""Seconds from the phase in which a start fails to the end of its process: vLLM takes about so long
to be imported, and as long to end."""
PROGRESS_SECONDS = 240.0
BOOT_SECONDS = 90.0


class World(Ground):
    """The host with systemd in it: jobs, runs, deaths and reboots."""

    def start(
        self, service: str, settings: Settings, done: Callable[[bool], None] = lambda _ran: None
    ) -> None:
        """Restart the unit; `done` hears whether the job ran or was canceled by another."""
        self._cancel(service)
        self.disk[service] = settings
        self._stopped_then(service, lambda: self._begin_job(service, done), done)

    def stop(
        self, service: str, *, kill: bool, done: Callable[[bool], None] = lambda _ran: None
    ) -> None:
        """Stop the unit."""
        self._cancel(service)
        self._stopped_then(service, lambda: self._down_job(service, done), done, kill=kill)

    def _cancel(self, service: str) -> None:
        canceled = self._canceled.pop(service, None)
        if canceled is not None:
            canceled(False)

    def _begin_job(self, service: str, done: Callable[[bool], None]) -> None:
        done(True)
        self._begin(service)

    def _down_job(self, service: str, done: Callable[[bool], None]) -> None:
        self._show(service, replace(self.unit(service), active_state="inactive", sub_state="dead"))
        done(True)

    def _stopped_then(
        self,
        service: str,
        then: Callable[[], None],
        done: Callable[[bool], None],
        *,
        kill: bool = False,
    ) -> None:
        run = self.runs.get(service)
        turn = self._next_turn(service)
        seconds = 0.1
        if run is not None:
            self._end(run)
            if not kill:
                patience = run.settings.shutdown_timeout + STOP_MARGIN_SECONDS
                seconds = float(patience) if run.stuck else 2.0
            self._show(
                service,
                replace(self.unit(service), active_state="deactivating", sub_state="stop-sigterm"),
            )
        self._canceled[service] = done

        def ended() -> None:
            if self._turn[service] == turn:
                self._canceled.pop(service, None)
                then()

        self.clock.after(seconds, ended)

    def _next_turn(self, service: str) -> int:
        turn = self._turn[service] = self._turn.get(service, 0) + 1
        return turn

    def _show(self, service: str, unit: UnitFacts) -> None:
        gone = unit.active_state != "active"
        self.units[service] = replace(unit, main_pid=0) if gone else unit
        self.book()
        self.keeper.unit_changed(service)

    # --- runs ---

    def _begin(self, service: str) -> None:
        self._next_turn(service)
        self._count += 1
        invocation = f"{self._count:032x}"
        settings = self.disk[service]
        unit = UnitFacts(
            "active",
            "running",
            main_pid=4000 + self._count,
            invocation_id=invocation,
            command_line=self._command_line(service, settings),
            foreign=self.unit(service).foreign,
        )
        run = Run(service, invocation, settings, unit, unreached=self.shape == NEVER_REACHED)
        run.refuses = "needs a key: api_key_file" if self.shape == LOCKED else ""
        self.runs[service] = run
        self.say(f"systemd starts {service}")
        self._show(service, unit)
        self._enter(run, 0)

    def _command_line(self, service: str, settings: Settings) -> tuple[str, ...]:
        known = self._lines.get(service)
        if known is None or known[0] is not settings:
            known = self._lines[service] = (settings, command_line(settings, ENGINE))
        return known[1]

    def _enter(self, run: Run, index: int) -> None:
        service = run.service
        if self.runs.get(service) is not run:
            return
        if index == len(TIMELINE):
            self._ready(run)
            return
        phase, share = TIMELINE[index]
        seconds = share * self.start_seconds
        if index == 1 and self.download_seconds:
            self._move(run, P.DOWNLOADING)
            seconds, self.download_seconds = self.download_seconds, 0.0
            self._last_phase(run, index, seconds)
            return
        if (service, phase) in self.stalls:
            self.stalls.remove((service, phase))
            run.stuck = True
        self._move(run, phase)
        if run.stuck:
            return
        doom = self._doom(run, phase)
        if doom is not None:
            self.clock.after(min(FAILS_AFTER, seconds), lambda: self.die(run, doom))
            return
        run.holds = run.holds or phase is P.LOADING
        self._last_phase(run, index + 1, seconds)

    def _last_phase(self, run: Run, following: int, seconds: float) -> None:
        if seconds <= PROGRESS_SECONDS:
            self.clock.after(seconds, lambda: self._enter(run, following))
            return

        def on() -> None:
            if self.runs.get(run.service) is run:
                self._move(run, run.phase)
                self._last_phase(run, following, seconds - PROGRESS_SECONDS)

        self.clock.after(PROGRESS_SECONDS, on)

    def _move(self, run: Run, phase: EnginePhase) -> None:
        run.phase = phase
        run.activity += 1
        self.keeper.engine_moved(run)

    def _doom(self, run: Run, phase: EnginePhase) -> Doom | None:
        for cause in self.causes:
            if cause.phase is phase and cause.concerns(run.service, run.settings):
                if cause.left is not None:
                    cause.left -= 1
                return cause.doom
        free = self.free_for(run.service)
        found = memory_doom(phase, self.needs[run.service], run.settings, self.total, free)
        if found is None:
            return None
        return Doom(*found, short_of_memory=run.settings)

    def _ready(self, run: Run) -> None:
        run.ready, run.phase = True, P.SERVING
        run.activity += 1
        run.pace(self.clock.now, self.load)
        if run.service in self.hangs_at_ready:
            self.hangs_at_ready.remove(run.service)
            run.stuck = True
        self.book()
        self.keeper.engine_moved(run)

    def die(self, run: Run, doom: Doom) -> None:
        """The engine ends by itself: with Restart=always the unit then waits for its restart."""
        service = run.service
        if self.runs.get(service) is not run:
            return
        self._cancel(service)
        self.dooms[run.invocation] = self.last_doom[service] = doom
        self.doomed_in[run.invocation] = run.phase
        self.say(f"{service} dies: {doom.failure or 'without a word'} while {run.phase}")
        self._end(run)
        turn = self._next_turn(service)
        died = replace(run.unit, exec_main_code=1, exec_main_status=doom.status, result=doom.result)
        if self._given_up(service):
            self._show(service, replace(died, active_state="failed", sub_state="failed"))
            return
        self.clock.after(self.restart_seconds, lambda: self._by_itself(service, turn))
        self._show(service, replace(died, active_state="activating", sub_state="auto-restart"))

    def _given_up(self, service: str) -> bool:
        begun = self._begun.setdefault(service, [])
        begun.append(self.clock.now)
        if self.start_limit is None:
            return False
        burst, interval = self.start_limit
        return len(begun) > burst and begun[-1] - begun[-1 - burst] < interval

    def _by_itself(self, service: str, turn: int) -> None:
        if self._turn[service] == turn and self.up:
            self._begin(service)

    def _end(self, run: Run) -> None:
        """The process is gone; its memory comes free a little later."""
        held = self.held_by(run.service)
        self.runs.pop(run.service, None)
        if held:
            self._ghosts.append(held)

            def released() -> None:
                if held in self._ghosts:
                    self._ghosts.remove(held)
                    self.keeper.memory_changed()

            self.clock.after(self.release_seconds, released)

    # --- the host ---

    def reboot(self, seconds: float = BOOT_SECONDS) -> None:
        """Take the host down and up again; an operator's stop does not outlive it."""
        self.say("the host reboots")
        self.up = False
        for service in self.policies:
            self._next_turn(service)
        self.runs.clear()
        self.units = {
            name: replace(DOWN, foreign=unit.foreign) for name, unit in self.units.items()
        }
        self._ghosts.clear()
        self._canceled.clear()
        self.causes = [cause for cause in self.causes if not cause.until_reboot]
        self.unwanted.clear()
        self.boot += "'"
        self.book()
        self.clock.after(seconds, self._booted)

    def _booted(self) -> None:
        if not self.up:
            self.up = True
            self.keeper.rebooted()
