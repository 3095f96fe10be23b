# SPDX-License-Identifier: Apache-2.0
"""What runs for one service, besides its fetches."""

from __future__ import annotations

from dataclasses import dataclass

from agent.daemon.api_effector import ApiAction
from agent.daemon.api_source import ApiSource
from agent.daemon.journal_source import JournalSource
from agent.daemon.lanes import Lane
from agent.daemon.sources import SourceThread
from agent.daemon.unit_effector import UnitAction


@dataclass(slots=True)
class ServiceThreads:
    """Two threads that look and two that act."""

    journal: JournalSource
    api: ApiSource
    sources: tuple[SourceThread, ...]
    unit_lane: Lane[UnitAction]
    api_lane: Lane[ApiAction]

    def close(self, timeout_seconds: float) -> None:
        """End all of them; what hangs is left behind."""
        for source in self.sources:
            source.ask_to_stop()
        self.unit_lane.close()
        self.api_lane.close()
        for source in self.sources:
            source.join(timeout_seconds)
