# SPDX-License-Identifier: Apache-2.0
"""The threads that fetch for a service: one acts, one watches; made once a service needs them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agent.core.diagnosis.signatures import SignatureSet
from agent.core.state.actions import FetchAction
from agent.core.state.host import HostState
from agent.core.state.phases import Phase
from agent.daemon.clock import Clock
from agent.daemon.effectors.fetch import FetchEffector
from agent.daemon.effectors.lane import Lane
from agent.daemon.publisher import Publisher
from agent.daemon.sources.fetch import FetchSource
from agent.daemon.sources.thread import Emit, SourceHealth, SourceThread

JOIN_SECONDS = 0.3


class FetchThreads:
    """Made for the first fetch of a service; a service with a local model has none."""

    def __init__(
        self,
        service: str,
        units: Path,
        signatures: SignatureSet,
        watched: Callable[[], bool],
        emit: Emit,
        clock: Clock,
    ) -> None:
        source = FetchSource(service, units, signatures, watched, emit, clock)
        effector = FetchEffector(units, source.wake, clock)
        self._source = SourceThread(source, clock)
        self._lane: Lane[FetchAction] = Lane(
            f"fetch:{service}",
            lambda: FetchEffector(units, source.wake, clock).carry_out,
            effector.failed,
            emit,
        )
        self._source.start()

    @property
    def health(self) -> SourceHealth:
        """How the thread that watches is."""
        return self._source.health

    def submit(self, action: FetchAction) -> None:
        """Queue an action."""
        self._lane.submit(action)

    def replace_if_hung(self) -> None:
        """Let another thread act where the one that does hangs."""
        self._lane.replace_if_hung()

    def wake(self) -> None:
        """Look soon."""
        self._source.source.wake()

    def close(self, timeout_seconds: float) -> None:
        """End both threads; what hangs is left behind."""
        self._source.ask_to_stop()
        self._lane.close()
        self._source.join(timeout_seconds)


class Fetches:
    """All services' fetches; a service that never fetches has no threads for it."""

    def __init__(
        self,
        units: Path,
        signatures: SignatureSet,
        publisher: Publisher,
        emit: Emit,
        clock: Clock,
    ) -> None:
        self._units = units
        self._signatures = signatures
        self._publisher = publisher
        self._emit = emit
        self._clock = clock
        self._threads: dict[str, FetchThreads] = {}

    def submit(self, action: FetchAction) -> None:
        """Hand an action to its service's thread."""
        self._of(action.service).submit(action)

    def follow(self, state: HostState) -> None:
        """Watch the fetches that are under way, those of an earlier agent process too."""
        for name, s in state.services.items():
            if s.phase is Phase.FETCHING:
                self._of(name).wake()

    def replace_hung(self) -> None:
        """Let other threads act where one hangs."""
        for threads in self._threads.values():
            threads.replace_if_hung()

    def close(self, service: str) -> None:
        """End a service's threads."""
        threads = self._threads.pop(service, None)
        if threads is not None:
            threads.close(JOIN_SECONDS)

    def _of(self, service: str) -> FetchThreads:
        if service not in self._threads:
            threads = FetchThreads(
                service,
                self._units,
                self._signatures,
                lambda: self._fetches(service),
                self._emit,
                self._clock,
            )
            self._publisher.watch_health(threads.health)
            self._threads[service] = threads
        return self._threads[service]

    def _fetches(self, service: str) -> bool:
        s = self._publisher.latest[0].services.get(service)
        return s is not None and s.phase is Phase.FETCHING
