# SPDX-License-Identifier: Apache-2.0
"""The frozen view that everybody else reads: built from the loop's latest state when asked for."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from agent.core.guard import WHAT_TO_DO, place_of
from agent.core.settings.changes import restart_needed
from agent.core.stages.told import in_order
from agent.core.state.held import Held, HeldBy
from agent.core.state.host import HostState
from agent.core.state.phases import Phase
from agent.core.state.policy import HostPolicy
from agent.core.state.service import ServiceState
from agent.core.view.asked import (
    view_of_drain,
    view_of_outbox,
    view_of_pauses,
    view_of_restart,
    wall,
)
from agent.core.view.gpus import GpusView, view_of_gpus
from agent.core.view.host import HostView
from agent.core.view.remembered import failure_of, plan_of, proven_of, rolled_back_of, settings_of
from agent.core.view.snapshot import (
    FetchView,
    HeldView,
    OverrideView,
    ProgressView,
    ServiceView,
    Snapshot,
    SourceView,
    to_json,
)
from agent.core.view.starting import ahead_of, stage_of
from agent.core.view.wishes import PauseView
from agent.daemon.clock import Clock, wall_clock_is_ahead_by
from agent.daemon.log import log
from agent.daemon.sources.thread import LineCount, SourceHealth
from agent.host.vllm.reach import address_of
from agent.version import VERSION

Unshown = Mapping[str, str]
"""Services of which no view could be made, and why."""

PHASES = tuple(phase.value for phase in Phase)
WRITE_SECONDS = 2.0
"""Between two status.json where only numbers change: one a second is a fifth of what all costs."""
NO_LINES = LineCount()
GPUS_STALE_SECONDS = 15.0
"""Three times the longest rest between two looks at the GPUs: older numbers are not of now."""

PROVEN_IN = frozenset({Phase.VERIFYING, Phase.SERVING, Phase.STOPPING})
"""Phases of the run that was verified: a proof belongs to its run and goes with it."""


class Publisher:
    """`publish` belongs to the loop; `snapshot` may be called from any thread."""

    def __init__(self, file: Path, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self._health: list[SourceHealth] = []
        self._lines: Mapping[str, LineCount] = {}
        self._host: Callable[[float], HostView | None] = lambda _now: None
        self._mistakes: tuple[str, ...] = ()
        self._decided_at = 0.0
        self._written_at = 0.0
        self._unwritten = ""
        self._file_at = 0.0
        self._phases: Mapping[str, tuple[Phase, str]] = {}
        self._told: object = None
        self.latest: tuple[HostState, HostPolicy] = (HostState(), HostPolicy({}, {}))
        self.unshown: Unshown = {}

    def watch_health(self, health: SourceHealth) -> None:
        """Show this source from now on."""
        self._health = [*self._health, health]

    def watch_lines(self, service: str, lines: LineCount) -> None:
        """Show how many lines of the service's journal were read."""
        self._lines = {**self._lines, service: lines}

    def watch_host(self, view: Callable[[float], HostView | None]) -> None:
        """Show what this returns of the host, called from any thread with the agent time."""
        self._host = view

    def forget_source(self, health: SourceHealth) -> None:
        """Show this source no longer."""
        self._health = [h for h in self._health if h is not health]

    def forget_health(self, service: str) -> None:
        """Show the service's sources no longer."""
        self._health = [h for h in self._health if h.name.partition(":")[2] != service]

    def publish(self, state: HostState, policy: HostPolicy, mistakes: tuple[str, ...]) -> bool:
        """Make this what everybody sees; True when a phase or a run is new: the file follows."""
        self.latest = (state, policy)
        self._mistakes = mistakes
        self._decided_at = now = self._clock()
        phases = {name: (s.phase, s.invocation_id) for name, s in state.services.items()}
        changed = phases != self._phases
        told = _told_at_once(state)
        if changed or told != self._told or now - self._written_at >= WRITE_SECONDS:
            self._phases, self._told, self._written_at = phases, told, now
            self._write()
        return changed

    def snapshot(self) -> Snapshot:
        """Return the view of this moment, its times by the wall clock."""
        state, policy = self.latest
        now = self._clock()
        ahead = wall_clock_is_ahead_by(self._clock)
        return Snapshot(
            at_seconds=now + ahead,
            version=VERSION,
            phases=PHASES,
            config_valid=not self._mistakes,
            config_error="; ".join(self._mistakes),
            services=tuple(
                self._shown(s, policy, ahead, view_of_pauses((s.pause, state.pause), now, ahead))
                for s in state.services.values()
            ),
            sources=(
                *(_source(h, now, ahead) for h in self._health),
                *self._file_that_is_old(ahead),
            ),
            last_decision_seconds=wall(self._decided_at, ahead),
            findings=state.findings,
            gpus=_gpus(state, now, ahead),
            host=self._host(now),
            paused=view_of_pauses((state.pause,), now, ahead),
            notify=view_of_outbox(state.outbox, ahead),
        )

    def _shown(
        self, s: ServiceState, policy: HostPolicy, ahead: float, paused: PauseView | None
    ) -> ServiceView:
        lines = self._lines.get(s.name, NO_LINES)
        try:
            view = replace(_service(s, policy, lines, ahead), paused=paused)
            if s.group is not None:
                from agent.core.view.cluster import view_of_cluster  # for who has one: memory
                from agent.core.view.held_back import held_back

                host, now = self.latest[0], self._clock()
                slow = held_back(s, host.gpus, host.cards)
                cluster = view_of_cluster(s, policy, host.pause, now, ahead, slow)
                view = replace(view, cluster=cluster)
        # One service that cannot be shown must not hide the others.
        except Exception as error:  # noqa: BLE001
            self.unshown = {**self.unshown, s.name: place_of(error)}
            why = f"held: llmagent cannot show this service ({place_of(error)})"
            held = Held(HeldBy.FAILURE, why, WHAT_TO_DO)
            bare = ServiceState(s.name, Phase.HELD, s.since, why, held=held)
            return _service(bare, policy, lines, ahead)
        if s.name in self.unshown:
            self.unshown = {name: why for name, why in self.unshown.items() if name != s.name}
        return view

    def _write(self) -> None:
        # Written to a tmpfs for anyone to read: no fsync, and a full /run costs the view only.
        beside, problem = self._file.with_suffix(".new"), ""
        try:
            beside.write_text(json.dumps(to_json(self.snapshot())))
            beside.chmod(0o644)
            os.replace(beside, self._file)  # noqa: PTH105
            self._file_at = self._decided_at
        except OSError as error:
            problem = f"{self._file} cannot be written: {error.strerror or error}"
        if problem != self._unwritten:
            say = log.error if problem else log.info
            say(problem or f"{self._file} is written again")
            self._unwritten = problem

    def _file_that_is_old(self, ahead: float) -> tuple[SourceView, ...]:
        """Return a source that is down while what `llmagent status` reads is not of now.

        The page and the metrics are asked for over HTTP, and show it.
        """
        if not self._unwritten:
            return ()
        last = wall(self._file_at, ahead)
        return (SourceView(self._file.name, up=False, last_seconds=last, detail=self._unwritten),)


def _told_at_once(state: HostState) -> object:
    """Return what the history tells the moment it is so: the file must not contradict it."""
    limits = [gpu.power_limits.enforced_watts for gpu in state.gpus.gpus] if state.gpus else []
    return limits, [s.held for s in state.services.values()]


def _source(health: SourceHealth, now: float, ahead: float) -> SourceView:
    last = wall(health.last_seconds, ahead)
    silent = now - health.last_seconds
    if health.up and silent > health.silent_seconds:
        return SourceView(health.name, False, last, f"has not come back for {silent:.0f} s")
    return SourceView(health.name, health.up, last, health.detail)


def _gpus(state: HostState, now: float, ahead: float) -> GpusView | None:
    """Return None on a host that never had a GPU: nothing is to be said of it then."""
    if not state.cards and (state.gpus is None or not state.gpus.driver.present):
        return None
    stale = state.gpus is None or now - state.gpus.at > GPUS_STALE_SECONDS
    given = {
        name: settings.gpus
        for name, s in state.services.items()
        if (settings := s.running or s.configured) is not None
    }
    return view_of_gpus(state.gpus, state.cards, given, stale=stale, ahead_seconds=ahead)


def _service(s: ServiceState, policy: HostPolicy, lines: LineCount, ahead: float) -> ServiceView:
    configured = policy.services[s.name].settings if s.name in policy.services else s.running
    running = s.running or configured
    live, unit = s.live, s.live.unit
    return ServiceView(
        name=s.name,
        unit=f"{s.name}.service",
        phase=s.phase.value,
        since_seconds=wall(s.since, ahead),
        reason=live.blocked_by if s.phase is Phase.WAITING and live.blocked_by else s.reason,
        url="" if running is None or running.headless else address_of(running),
        engine_phase=live.engine_phase.value,
        progress=_progress(s),
        fetch=_fetch(s),
        main_pid=unit.main_pid if unit is not None else 0,
        invocation_id=s.invocation_id,
        restarts={failure.value: count for failure, count in s.restarts.items()},
        asked=settings_of(configured),
        running=settings_of(s.running),
        overrides={
            name: OverrideView(o.asked, o.running, wall(o.since, ahead), o.why)
            for name, o in s.learned.overrides.items()
        },
        verification=s.checks if s.phase in PROVEN_IN else (),
        failure=failure_of(s, ahead),
        held=HeldView(s.reason, s.what_to_do) if s.phase is Phase.HELD else None,
        rolled_back=rolled_back_of(s, ahead),
        plan=plan_of(s),
        proven=proven_of(s),
        start_seconds=s.start_seconds,
        stage=stage_of(s, ahead),
        start_stage_seconds=in_order(s.start_stage_seconds),
        read_ahead=ahead_of(s, ahead),
        phase_seconds={phase.value: seconds for phase, seconds in s.phase_seconds.items()},
        drop_ins=unit.drop_ins if unit is not None else (),
        pending_restart=_pending(s, policy),
        journal_lines=lines.read,
        journal_suppressed_lines=lines.suppressed,
        api=live.counters if s.phase in (Phase.SERVING, Phase.VERIFYING) else None,
        hang_detection_off=live.unjudged,
        planned_restart=view_of_restart(s, ahead),
        drain=view_of_drain(s, ahead),
    )


def _progress(s: ServiceState) -> ProgressView | None:
    fetched, progress = s.live.fetch.progress, s.live.progress
    if s.phase is Phase.FETCHING and fetched is not None:
        return ProgressView("downloading", fetched.share, str(fetched))
    if progress is None or s.phase is not Phase.STARTING:
        return None
    return ProgressView(progress.what, progress.done, progress.detail)


def _fetch(s: ServiceState) -> FetchView | None:
    progress = s.live.fetch.progress
    if s.phase is not Phase.FETCHING or progress is None:
        return None
    return FetchView(progress.done, progress.total, progress.speed)


def _pending(s: ServiceState, policy: HostPolicy) -> tuple[str, ...]:
    if s.running is None or s.name not in policy.services:
        return ()
    learned = {name: override.running for name, override in s.learned.overrides.items()}
    asked = s.in_force(policy.services[s.name]).settings
    return restart_needed(s.running, asked.with_overrides(learned))
