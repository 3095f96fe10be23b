# SPDX-License-Identifier: Apache-2.0
"""Examines the host every evening, so that what would fail at night is told before."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from agent.core.settings.config import Config
from agent.core.state.host import HostState
from agent.core.state.observations import HostExamined
from agent.core.state.policy import HostPolicy
from agent.daemon.clock import Clock
from agent.daemon.sources.resting import RestingSource
from agent.daemon.sources.thread import Emit

EVENING_HOUR = 19
"""Local time; early enough for a person to act, late enough for the day's upgrades to be in."""

FIRST_SECONDS = 300.0
"""After the agent's start, so that a boot is over: time is synchronized, drivers are loaded."""

LOOK_SECONDS = 30.0
DEADLINE_SECONDS = 20.0
"""Nobody waits for it, and the host may be busy."""


class CheckupSource(RestingSource):
    """Runs the doctor's checks that need no network and no root beyond the agent's own rights."""

    name = "doctor"

    def __init__(
        self, latest: Callable[[], tuple[HostState, HostPolicy]], emit: Emit, clock: Clock
    ) -> None:
        super().__init__()
        self._latest = latest
        self._emit = emit
        self._clock = clock
        self._due = time.time() + FIRST_SECONDS

    def look(self) -> None:
        """Examine when it is time, then rest."""
        if time.time() >= self._due:
            self._due = next_evening(datetime.now().astimezone()).timestamp()
            self._examine()
        self.rest(LOOK_SECONDS)

    def _examine(self) -> None:
        # Once a day: what it takes to import it is not kept for the rest of the day's start.
        from agent.tasks.examine import Patient, examine
        from agent.tasks.upkeep.prune import prune

        state, policy = self._latest()
        config = Config(services=policy.services, power=policy.power)
        found = examine(Patient(config, gpus=state.gpus, hub=False), DEADLINE_SECONDS)
        self._emit(HostExamined(self._clock(), found, tuple(prune(state))))


def next_evening(now: datetime) -> datetime:
    """Return the next time that it is 19:00."""
    evening = now.replace(hour=EVENING_HOUR, minute=0, second=0, microsecond=0)
    return evening if evening > now else evening + timedelta(days=1)
