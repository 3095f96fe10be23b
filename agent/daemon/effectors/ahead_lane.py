# SPDX-License-Identifier: Apache-2.0
"""The thread that has a service's files listed and read ahead, made once there is need of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agent.core.state.actions import AheadAction
from agent.core.state.observations import Observation
from agent.daemon.clock import Clock
from agent.daemon.effectors.lane import Lane, LateLane
from agent.places import AHEAD_DIRECTORY

SECONDS = 700.0
"""Longer than the unit that reads may run."""


class AheadLane(LateLane[AheadAction]):
    """A service of which nothing is listed or read has no thread; the reading is systemd's."""

    def __init__(
        self, service: str, state: Path, emit: Callable[[Observation], None], clock: Clock
    ) -> None:
        self._service = service
        self._state = state
        self._emit = emit
        self._clock = clock
        super().__init__(self._begun)

    def _begun(self) -> Lane[AheadAction]:
        from agent.daemon.effectors.ahead import AheadEffector  # for who reads ahead: memory

        def ahead() -> AheadEffector:
            return AheadEffector(self._state, self._clock)

        name, failed = f"ahead:{self._service}", ahead().failed
        return Lane(name, lambda: ahead().carry_out, failed, self._emit, lambda _action: SECONDS)

    def forget(self) -> None:
        """Remove the list of a service that is no longer configured: nothing is read for it."""
        (self._state / AHEAD_DIRECTORY.name / self._service).unlink(missing_ok=True)
