# SPDX-License-Identifier: Apache-2.0
"""What the agents of the other hosts say, as it comes in: who is there, and who is away."""

from __future__ import annotations

from dataclasses import replace

from agent.core.cluster.group import GroupLive, PeerAnswered, PeerSeen
from agent.core.cluster.judge import name_of
from agent.core.judges.turn import Turn
from agent.core.settings.cluster import ClusterSettings
from agent.core.state.service import ServiceState

TOLD_AFTER_SECONDS = 30.0
"""A host that does not answer for so long is told of: an agent's restart takes a few seconds."""

HANGS = "the last question hangs"
"""Why nothing is heard of a peer whose last answer was a good one."""


def on_answered(turn: Turn, s: ServiceState, seen: PeerAnswered) -> ServiceState:
    """Remember what a peer said, or that it said nothing."""
    group = s.group
    if group is None:
        return s
    before = group.live.peers.get(seen.address, PeerSeen())
    if seen.member is None:
        since = (before.cut_off_since or seen.at) if seen.cut_off else 0.0
        now = replace(
            before, problem=seen.problem, engine_open=seen.engine_open, cut_off_since=since
        )
    else:
        if before.away_told:
            turn.tell(s.name, "peer-back", f"{name_of(seen.address, before)} answers again")
        known, theirs = before.member, seen.member
        same = known is not None and (known.generation, known.stance) == (
            theirs.generation,
            theirs.stance,
        )
        changed_at = before.changed_at if same else seen.at
        now = PeerSeen(theirs, seen.at, changed_at)
    return with_live(s, replace(group.live, peers={**group.live.peers, seen.address: now}))


def tell_who_is_away(turn: Turn, s: ServiceState) -> ServiceState:
    """Tell once of each peer that does not answer for long."""
    group = s.group
    if group is None:
        return s
    peers = dict(group.live.peers)
    for address, seen in group.live.peers.items():
        silent = turn.at - max(seen.at, group.live.since)
        if seen.away_told or silent < TOLD_AFTER_SECONDS:
            continue
        name = name_of(address, seen)
        goes_on = ": what runs goes on without it" if group.used else ""
        turn.tell(
            s.name,
            "peer-away",
            f"the llmagent of {name} does not answer for {silent:.0f} s"
            f" ({seen.problem or HANGS}){goes_on}",
        )
        peers[address] = replace(seen, away_told=True)
    return s if peers == group.live.peers else with_live(s, replace(group.live, peers=peers))


def asked_of(turn: Turn, live: GroupLive, cluster: ClusterSettings) -> GroupLive:
    """Return what is known of exactly the peers that are configured now."""
    if not live.since:
        live = replace(live, since=turn.at)
    if set(live.peers) == set(cluster.peers):
        return live
    return replace(live, peers={peer: live.peers.get(peer, PeerSeen()) for peer in cluster.peers})


def with_live(s: ServiceState, live: GroupLive) -> ServiceState:
    """Return the service with this known of its group."""
    if s.group is None or s.group.live == live:
        return s
    return replace(s, group=replace(s.group, live=live))
