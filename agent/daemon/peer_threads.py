# SPDX-License-Identifier: Apache-2.0
"""The threads that ask the other hosts of groups; none where one host serves each service."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from agent.core.settings.cluster import ClusterSettings
from agent.core.state.host import HostState
from agent.core.state.phases import Phase
from agent.core.state.policy import HostPolicy
from agent.daemon.clock import Clock
from agent.daemon.publisher import Publisher
from agent.daemon.sources.thread import Emit, SourceThread

JOIN_SECONDS = 0.3

Wanted = tuple[str, str, ClusterSettings, int]


class PeerThreads:
    """One thread a peer and service, so that a host that is slow keeps nobody else waiting."""

    def __init__(self, publisher: Publisher, emit: Emit, clock: Clock) -> None:
        self._publisher = publisher
        self._emit = emit
        self._clock = clock
        self._policy: HostPolicy | None = None
        self._threads: dict[tuple[str, str], tuple[tuple[object, ...], SourceThread]] = {}

    def follow(self, policy: HostPolicy) -> None:
        """Ask exactly the peers that are configured now."""
        if policy is self._policy:
            return
        self._policy = policy
        wanted = {(name, address): (cluster, port) for name, address, cluster, port in _of(policy)}
        for key in tuple(self._threads):
            known, thread = self._threads[key]
            if key not in wanted or known != _asked_by(*wanted[key]):
                del self._threads[key]
                thread.ask_to_stop()
                self._publisher.forget_source(thread.health)
        for key, (cluster, port) in wanted.items():
            if key not in self._threads:
                self._threads[key] = (_asked_by(cluster, port), self._open(*key, cluster, port))

    def close(self) -> None:
        """End all of them; what hangs is left behind."""
        threads = [thread for _, thread in self._threads.values()]
        for thread in threads:
            thread.ask_to_stop()
        for thread in threads:
            thread.join(JOIN_SECONDS)

    def _open(
        self, service: str, address: str, cluster: ClusterSettings, port: int
    ) -> SourceThread:
        from agent.daemon.sources.peers import PeerSource  # for who has peers: memory

        source = PeerSource(
            service, address, cluster, port, self._settled(service), self._emit, self._clock
        )
        thread = SourceThread(source, self._clock)
        self._publisher.watch_health(thread.health)
        thread.start()
        return thread

    def _settled(self, service: str) -> Callable[[], bool]:
        def settled() -> bool:
            state: HostState = self._publisher.latest[0]
            s = state.services.get(service)
            return s is not None and s.phase is Phase.SERVING

        return settled


def _of(policy: HostPolicy) -> Iterator[Wanted]:
    for name, service in policy.services.items():
        cluster = service.settings.cluster
        if cluster is not None:
            for address in cluster.peers:
                yield name, address, cluster, service.settings.port


def _asked_by(cluster: ClusterSettings, port: int) -> tuple[object, ...]:
    """Return all that a thread was made with: fields that compare, and those that do not."""
    return (cluster, port, cluster.user, cluster.password_file, cluster.ca_file)
