# SPDX-License-Identifier: Apache-2.0
"""What status.json shows of a group of hosts, and what this host tells the others of itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from agent.core.record import dataclass

if TYPE_CHECKING:  # loaded by who serves with other hosts: memory
    from agent.core.cluster.group import PeerSeen
    from agent.core.cluster.member import Member
    from agent.core.state.policy import HostPolicy
    from agent.core.state.service import ServiceState
    from agent.core.state.steering.wishes import Pause


@dataclass(frozen=True, slots=True)
class PeerView:
    """Another host of the group, as it was last heard; `seen_seconds` since the epoch, 0: never.

    `problem` is why it does not answer now, "" while it does.
    """

    address: str
    host: str = ""
    member: int | None = None
    generation: int = 0
    stance: str = ""
    reason: str = ""
    seen_seconds: float = 0.0
    answers: bool = False
    problem: str = ""
    unlike: tuple[str, ...] = ()
    """What must be the same on both hosts and is not, a sentence each."""

    asked_seconds: float = 0.0
    """Since when this process of the agent asks, since the epoch."""

    held_back: str = ""
    """What slows its cards down, and so all of a split model."""


@dataclass(frozen=True, slots=True)
class CauseView:
    """Why the present generation began: on which host ("": this one), and what failed there."""

    host: str
    failure_class: str
    sentence: str
    at_seconds: float


@dataclass(frozen=True, slots=True)
class ClusterView:
    """The own part in a group of hosts that serve together."""

    member: int
    head: bool
    headless: bool
    hosts: int
    generation: int
    stance: str
    """down, ready, running, serving or ending: see llmagent-cluster(7)."""

    cause: CauseView | None
    peers: tuple[PeerView, ...]
    own: Mapping[str, Any] = field(default_factory=dict)
    """This host's word, as /cluster.json tells it to the others."""


def view_of_cluster(
    s: ServiceState,
    policy: HostPolicy,
    host_pause: Pause | None,
    now: float,
    ahead: float,
    slow: str = "",
) -> ClusterView | None:
    """Return the view, None of a service that one host serves; `host_pause` is the host's.

    `slow` is what slows this host's cards down.
    """
    configured = policy.services.get(s.name)
    cluster = None if configured is None else configured.settings.cluster
    if cluster is None or s.group is None:
        return None
    from agent.core.codec import encode
    from agent.core.view.cluster_word import word_of

    group, own = s.group, word_of(s, policy, cluster, host_pause, now, slow)
    cause = group.cause
    return ClusterView(
        cluster.member,
        cluster.is_head,
        cluster.headless,
        cluster.size,
        group.generation.number,
        own.stance.value,
        None
        if cause is None
        else CauseView(cause.host, cause.failure, cause.sentence, group.cause_at + ahead),
        tuple(
            replace(_peer(own, *item, now, ahead), asked_seconds=(group.live.since or now) + ahead)
            for item in group.live.peers.items()
        ),
        encode(own),
    )


def _peer(own: Member, address: str, seen: PeerSeen, now: float, ahead: float) -> PeerView:
    from agent.core.cluster.judge import is_fresh
    from agent.core.cluster.same import POWER, differences

    theirs: Member | None = seen.member
    answers = is_fresh(seen, now)
    problem = "" if answers else seen.problem or "not heard yet"
    if theirs is None:
        return PeerView(address, problem=problem)
    return PeerView(
        address,
        theirs.host,
        theirs.member,
        theirs.generation.number,
        theirs.stance.value,
        theirs.reason,
        seen.at + ahead,
        answers,
        problem,
        tuple(
            f"{one.name} is {one.here} here and {one.there} there"
            for one in differences(own.same, theirs.same)
            if answers and one.name != POWER
        ),
        held_back=theirs.held_back if answers else "",
    )
