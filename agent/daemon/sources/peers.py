# SPDX-License-Identifier: Apache-2.0
"""Asks the agent of one other host of a group how its rank is, in a thread of its own."""

from __future__ import annotations

import socket
from collections.abc import Callable
from urllib.parse import urlsplit

from agent.core.cluster.group import PeerAnswered
from agent.core.settings.cluster import ClusterSettings
from agent.daemon.clock import Clock
from agent.daemon.sources.resting import RestingSource
from agent.daemon.sources.thread import Emit
from agent.host.web.peer import Asker, credentials_of
from agent.tasks.cluster.ask_peers import ask_peer

ANSWER_SECONDS = 2.0
"""For each step of a question; the next one comes anyway."""

ASK_SECONDS = 1.0
SETTLED_SECONDS = 2.0
"""Between two questions while all serve; well below the ten seconds that a word holds."""


class PeerSource(RestingSource):
    """A host that does not answer is a fact that is emitted, and no fault of the source."""

    def __init__(
        self,
        service: str,
        address: str,
        cluster: ClusterSettings,
        service_port: int,
        settled: Callable[[], bool],
        emit: Emit,
        clock: Clock,
    ) -> None:
        """`service_port` is where the head takes requests; `settled`: the own rank serves."""
        super().__init__()
        self.name = f"peer:{service}:{address.partition('://')[2]}"
        self._service = service
        self._address = address
        self._cluster = cluster
        self._service_port = service_port
        self._settled = settled
        self._emit = emit
        self._clock = clock
        self._proof = (cluster.user, cluster.password_file, cluster.ca_file)
        self._asker: Asker | None = None
        self._resolved: frozenset[str] = frozenset()
        """The addresses of the host, found while the name server could be asked."""

    def look(self) -> None:
        """Ask once, then rest. Raises AgentError where password or certificates are not there."""
        asker = self._asker
        if asker is None:
            asker = self._asker = Asker(credentials_of(*self._proof))
        told = ask_peer(asker, self._address, self._service, ANSWER_SECONDS)
        answers = told.member is not None
        self._resolved = self._resolved or addresses_of(self._address)
        is_open = None if answers else self._engine_is_open()
        cut_off = not answers and self._is_cut_off()
        at, service, address = self._clock(), self._service, self._address
        self._emit(PeerAnswered(at, service, address, told.member, told.problem, is_open, cut_off))
        self.rest(SETTLED_SECONDS if self._settled() else ASK_SECONDS)

    def _is_cut_off(self) -> bool:
        """Tell whether what this host's engine, or anybody here, sent to that host is lost.

        The engines talk to the host that the agent is asked at; where they use other addresses,
        nothing is found, and nothing follows.
        """
        from agent.host.machine.tcp import is_cut_off  # for who misses a host: memory

        return is_cut_off(self._resolved)

    def _engine_is_open(self) -> bool | None:
        """Tell whether the head's engine takes a connection; None where that tells nothing."""
        cluster = self._cluster
        if not cluster.headless:
            return None
        port = cluster.meeting_port
        if port is not None:
            return _opens(cluster.meeting_address, port)
        # A head that serves for its own host only is closed to all others, alive or not.
        return True if _opens(cluster.meeting_address, self._service_port) else None


def addresses_of(address: str) -> frozenset[str]:
    """Return the addresses of a peer's host, none while its name is not found."""
    try:
        found = socket.getaddrinfo(urlsplit(address).hostname, None, type=socket.SOCK_STREAM)
    except OSError:
        return frozenset()
    return frozenset(str(place[0]) for *_, place in found)


def _opens(host: str, port: int) -> bool | None:
    """Tell whether the port takes a connection or refuses it; None where there is no answer.

    A host behind a cut cable is silent, and so is one that is off: that says nothing of its engine.
    """
    try:
        with socket.create_connection((host, port), ANSWER_SECONDS):
            return True
    except ConnectionRefusedError:
        return False
    except OSError:
        return None
