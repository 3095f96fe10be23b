# SPDX-License-Identifier: Apache-2.0
"""Asks the agents of all other hosts of a group at once; one that is slow holds up no other."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping

from agent.core.cluster.member import Member, member_of
from agent.core.plain import plain
from agent.core.record import dataclass
from agent.core.settings.cluster import ClusterSettings
from agent.host.web.peer import Asker, PeerError, credentials_of

ANSWER_SECONDS = 1.5
MOST_NAMED = 4
"""Of a peer's own groups, in the sentence that says that it has not this one."""


@dataclass(frozen=True, slots=True)
class PeerTold:
    """What one peer said; `member` is None where it said nothing of the service: `problem`.

    `ahead_seconds` is what its clock is ahead of this host's, None where it does not tell.
    """

    address: str
    member: Member | None
    problem: str = ""
    ahead_seconds: float | None = None

    @property
    def name(self) -> str:
        """How the host calls itself, or how it was named here."""
        host = self.member.host if self.member is not None else ""
        return host or self.address.partition("://")[2]


def ask_peers(
    cluster: ClusterSettings, service: str, seconds: float = ANSWER_SECONDS
) -> tuple[PeerTold, ...]:
    """Return what all say within `seconds`, in the order of the peers.

    Raises AgentError where the password or the certificates cannot be read.
    """
    asker = Asker(credentials_of(cluster.user, cluster.password_file, cluster.ca_file))
    answers: queue.SimpleQueue[PeerTold] = queue.SimpleQueue()
    for address in cluster.peers:
        threading.Thread(
            target=lambda peer: answers.put(ask_peer(asker, peer, service, seconds)),
            args=(address,),
            daemon=True,
        ).start()
    end = time.monotonic() + seconds
    told: dict[str, PeerTold] = {}
    while len(told) < len(cluster.peers):
        try:
            answer = answers.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            break
        told[answer.address] = answer
    late = f"no answer within {seconds:g} s"
    return tuple(told.get(peer) or PeerTold(peer, None, late) for peer in cluster.peers)


def ask_peer(asker: Asker, address: str, service: str, seconds: float) -> PeerTold:
    """Return what this one says; `seconds` bounds each step of the question."""
    try:
        document = asker.cluster(address, seconds)
        member = member_of(document, service)
    except (PeerError, ValueError) as error:
        return PeerTold(address, None, str(error))
    at = document.get("at_seconds")
    ahead = at - time.time() if isinstance(at, float) else None
    if member is None:
        return PeerTold(address, None, _has_not(service, document["services"]), ahead)
    return PeerTold(address, member, "", ahead)


def _has_not(service: str, there: Mapping[str, object]) -> str:
    """Say that there is no such group; a host that has others may call the same one so."""
    names = ", ".join(plain(name, 64) for name in sorted(there)[:MOST_NAMED])
    others = f", but of {names}: the table has the same name on all hosts" if names else ""
    return f"has no [service.{service}.cluster]{others}"
