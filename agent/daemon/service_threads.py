# SPDX-License-Identifier: Apache-2.0
"""What runs for one service, besides its fetches."""

from __future__ import annotations

from dataclasses import dataclass

from agent.daemon.effectors.api import ApiAction
from agent.daemon.effectors.lane import Lane
from agent.daemon.effectors.unit import UnitAction
from agent.daemon.sources.api import ApiSource
from agent.daemon.sources.journal import JournalSource
from agent.daemon.sources.thread import SourceThread


@dataclass(slots=True)
class ServiceThreads:
    """Two threads that look and two that act."""

    journal: JournalSource
    api: ApiSource
    sources: tuple[SourceThread, ...]
    unit_lane: Lane[UnitAction]
    api_lane: Lane[ApiAction]

    def replace_hung(self) -> None:
        """Let another thread act where one hangs: on files of a disk that does not answer."""
        self.unit_lane.replace_if_hung()
        self.api_lane.replace_if_hung()

    def close(self, timeout_seconds: float) -> None:
        """End all of them; what hangs is left behind."""
        for source in self.sources:
            source.ask_to_stop()
        self.unit_lane.close()
        self.api_lane.close()
        for source in self.sources:
            source.join(timeout_seconds)
