# SPDX-License-Identifier: Apache-2.0
"""The thread that has a service's files listed and read ahead, made once there is need of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agent.core.state.actions import AheadAction
from agent.core.state.observations import Observation
from agent.daemon.clock import Clock
from agent.daemon.effectors.lane import Lane
from agent.places import AHEAD_DIRECTORY

SECONDS = 700.0
"""Longer than the unit that reads may run."""


class AheadLane:
    """A service of which nothing is listed or read has no thread for it."""

    def __init__(
        self, service: str, state: Path, emit: Callable[[Observation], None], clock: Clock
    ) -> None:
        self._service = service
        self._state = state
        self._emit = emit
        self._clock = clock
        self._lane: Lane[AheadAction] | None = None

    def submit(self, action: AheadAction) -> None:
        """Queue an action."""
        if self._lane is None:
            from agent.daemon.effectors.ahead import AheadEffector  # for who reads ahead: memory

            def ahead() -> AheadEffector:
                return AheadEffector(self._state, self._clock)

            name, failed = f"ahead:{self._service}", ahead().failed
            self._lane = Lane(
                name, lambda: ahead().carry_out, failed, self._emit, lambda _action: SECONDS
            )
        self._lane.submit(action)

    def forget(self) -> None:
        """Remove the list of a service that is no longer configured: nothing is read for it."""
        (self._state / AHEAD_DIRECTORY.name / self._service).unlink(missing_ok=True)

    def replace_if_hung(self) -> None:
        """Let another thread act where one hangs."""
        if self._lane is not None:
            self._lane.replace_if_hung()

    def close(self) -> None:
        """End the thread; what is being read is left to systemd."""
        if self._lane is not None:
            self._lane.close()
