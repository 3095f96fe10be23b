# SPDX-License-Identifier: Apache-2.0
"""Watches the unit that fetches a model: its state, and what its program says in the journal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agent.core.diagnosis.reader import LogReader
from agent.core.diagnosis.signatures import SignatureSet
from agent.core.hub.progress import FetchPlan, FetchProgress, read_line
from agent.core.hub.unit import fetch_unit_name
from agent.core.state.observations import FetchSeen
from agent.core.state.unit import UnitFacts
from agent.daemon.clock import Clock
from agent.daemon.sources.resting import RestingSource
from agent.daemon.sources.thread import Emit
from agent.daemon.sources.units import unit_facts
from agent.host.journal.entry import JournalEntry
from agent.host.journal.follower import Follower
from agent.host.journal.sync import synchronize
from agent.host.journal.unit import UnitLines, run_of
from agent.host.systemd import SystemdBus

BATCH = 1000
READ_SECONDS = 1.0
IDLE_SECONDS = 5.0
LAST_WORDS_SECONDS = 1.0


class FetchSource(RestingSource):
    """Reads only while `watched` says that the service is being fetched for."""

    def __init__(
        self,
        service: str,
        units: Path,
        signatures: SignatureSet,
        watched: Callable[[], bool],
        emit: Emit,
        clock: Clock,
    ) -> None:
        super().__init__()
        self.name = f"fetch:{service}"
        self._service = service
        self._unit = fetch_unit_name(service)
        self._units = units
        self._signatures = signatures
        self._watched = watched
        self._emit = emit
        self._clock = clock
        self._bus = SystemdBus()
        self._follower: Follower[JournalEntry] | None = None
        self._begin("")

    def wake(self) -> None:
        """Look soon. From any thread."""
        super().wake()
        if self._follower is not None:
            self._follower.wake()

    def look(self) -> None:
        """Read the unit and its new lines, tell, and wait for more."""
        if not self._watched():
            self.rest(IDLE_SECONDS)
            return
        if self._follower is None:
            self._follower = Follower(UnitLines(self._unit), None)
        at = self._clock()
        unit = unit_facts(self._bus.read(self._unit), self._units)
        if unit.invocation_id and unit.invocation_id != self._invocation_id:
            self._begin(unit.invocation_id)
            self._follower.from_first(run_of(self._unit, unit.invocation_id))
        ended = unit.active_state == "failed"
        if ended:
            synchronize(LAST_WORDS_SECONDS)
        self._read(self._follower)
        self._tell(at, unit, ended=ended)
        self._follower.wait(READ_SECONDS)

    def close(self) -> None:
        """Close the journal and the bus."""
        if self._follower is not None:
            self._follower.close()
        self._bus.close()

    def _begin(self, invocation_id: str) -> None:
        self._invocation_id = invocation_id
        self._reader = LogReader(self._signatures)
        self._plan: FetchPlan | None = None
        self._progress: FetchProgress | None = None
        self._lines = 0

    def _read(self, follower: Follower[JournalEntry]) -> None:
        while entries := follower.drain(BATCH):
            for entry in entries:
                if entry.from_manager or entry.invocation_id != self._invocation_id:
                    continue
                match read_line(entry.message):
                    case FetchPlan() as plan:
                        self._plan = plan
                    case FetchProgress() as progress:
                        self._progress = progress
                    case None:
                        self._lines += 1
                        self._reader.feed(entry.message)

    def _tell(self, at: float, unit: UnitFacts, *, ended: bool) -> None:
        diagnosis = self._reader.diagnosis() if ended else None
        self._emit(
            FetchSeen(at, self._service, unit, self._plan, self._progress, self._lines, diagnosis)
        )
