# SPDX-License-Identifier: Apache-2.0
"""Looks into the hub's cache, and starts and stops the unit that fetches a model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import assert_never

import agent
from agent.core.hub.cache import CacheFacts, hub_cache, repositories
from agent.core.hub.unit import fetch_unit_name, render_fetch_unit
from agent.core.state.actions import Fetch, FetchAction, LookAtCache, StopFetch
from agent.core.state.observations import ActionDone, CacheSeen, Observation
from agent.daemon.clock import Clock
from agent.daemon.effectors.unit_writer import install_unit, user_of
from agent.errors import HostLacksError
from agent.host.models.hub_cache import look
from agent.host.systemd import JobResult, SystemdBus

CODE = Path(agent.__file__).parents[1]
"""The directory that holds the package, for the service's own Python."""

SECONDS = 30.0


class FetchEffector:
    """Serves one lane, so that its bus has one thread. Each step may be repeated after a crash."""

    def __init__(self, units: Path, looked_at: Callable[[], None], clock: Clock) -> None:
        self._units = units
        self._looked_at = looked_at
        self._clock = clock
        self._bus = SystemdBus()

    def carry_out(self, action: FetchAction) -> Observation | None:
        """Do it; the source is woken so that the result shows at once."""
        match action:
            case LookAtCache():
                cache = look(hub_cache(action.settings), repositories(action.settings))
                return CacheSeen(self._clock(), action.service, cache)
            case Fetch():
                return self._fetch(action)
            case StopFetch():
                self._bus.stop(fetch_unit_name(action.service), SECONDS)
                return None
            case _:
                assert_never(action)

    def failed(self, action: FetchAction, detail: str) -> Observation:
        """Return what to tell when `carry_out` raised."""
        at = self._clock()
        match action:
            case LookAtCache():
                return CacheSeen(at, action.service, CacheFacts("", problem=detail))
            case Fetch():
                return ActionDone(
                    at, action.service, action.action_id, succeeded=False, detail=detail
                )
            case StopFetch():
                return ActionDone(at, action.service, 0, succeeded=False, detail=detail)
            case _:
                assert_never(action)

    def _fetch(self, action: Fetch) -> Observation:
        unit = fetch_unit_name(action.service)
        path = self._units / unit
        state = self._bus.read(unit)
        there = Path(state.fragment_path) if state.fragment_path else None
        if there is not None and there.resolve() != path.resolve():
            raise HostLacksError(f"{there} is not llmagent's; give the service another name")
        result = JobResult.DONE
        if not state.main_pid:
            text = render_fetch_unit(
                action.settings,
                action.engine,
                str(CODE),
                action.engine.read_paths,
                repair=action.repair,
                container_user=user_of(action.settings),
            )
            install_unit(self._bus, path, text)
            # A restart, as the last one's end is kept for us to read.
            result = self._bus.restart(unit, SECONDS)
        self._looked_at()
        ran = result in (JobResult.DONE, JobResult.FAILED, JobResult.PENDING)
        return ActionDone(
            self._clock(),
            action.service,
            action.action_id,
            succeeded=ran,
            detail="" if ran else f"systemd's job ended as {result.value}",
        )
