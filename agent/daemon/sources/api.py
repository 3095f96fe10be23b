# SPDX-License-Identifier: Apache-2.0
"""Asks one service's HTTP side whether it is ready and what its counters say."""

from __future__ import annotations

from collections.abc import Callable

from agent.core.engine.metrics import Counters
from agent.core.record import dataclass
from agent.core.settings.service import Settings
from agent.core.state.observations import ApiSeen
from agent.core.state.phases import Phase
from agent.daemon.clock import Clock
from agent.daemon.sources.resting import RestingSource
from agent.daemon.sources.thread import Emit
from agent.host.vllm.api import HealthStatus, VllmApi
from agent.host.vllm.reach import client_of

STARTING_SECONDS = 1.0
NOTHING_TO_ASK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Watched:
    """What the loop last published of a service: whom to ask, about which run, how often."""

    phase: Phase
    invocation_id: str
    running: Settings
    poll_seconds: float


class ApiSource(RestingSource):
    """Asks only while the service runs; `watched` gives the loop's latest view."""

    def __init__(
        self, service: str, watched: Callable[[], Watched | None], emit: Emit, clock: Clock
    ) -> None:
        super().__init__()
        self.name = f"api:{service}"
        self._service = service
        self._watched = watched
        self._emit = emit
        self._clock = clock
        self._api: tuple[str, VllmApi] | None = None

    def look(self) -> None:
        """Ask if there is somebody to ask, then sleep as long as the phase wants."""
        watched = self._watched()
        if watched is None:
            self.rest(NOTHING_TO_ASK_SECONDS)
            return
        match watched.phase:
            case Phase.STARTING:
                health = self._client(watched).health()
                self._see(watched, healthy=health is HealthStatus.HEALTHY, detail=health.value)
                self.rest(STARTING_SECONDS)
            case Phase.VERIFYING | Phase.SERVING:
                self._count(watched)
                self.rest(watched.poll_seconds)
            case _:
                self.rest(NOTHING_TO_ASK_SECONDS)

    def _count(self, watched: Watched) -> None:
        answer = self._client(watched).counters()
        if isinstance(answer, Counters):
            self._see(watched, healthy=True, counters=answer)
        else:
            self._see(watched, healthy=False, detail=str(answer))

    def _see(
        self,
        watched: Watched,
        *,
        healthy: bool,
        counters: Counters | None = None,
        detail: str = "",
    ) -> None:
        at = self._clock()
        self._emit(ApiSeen(at, self._service, watched.invocation_id, healthy, counters, detail))

    def _client(self, watched: Watched) -> VllmApi:
        if self._api is None or self._api[0] != watched.invocation_id:
            self._api = (watched.invocation_id, client_of(watched.running))
        return self._api[1]
