# SPDX-License-Identifier: Apache-2.0
"""New settings of one host, while all serve with the old ones: no rank starts until all have them.

So the restart that they need is held back until the others have them, too. What serves goes on
meanwhile: whoever configures hosts one after the other costs the service one restart, and no wait.
"""

from __future__ import annotations

from agent.core.cluster.group import PeerSeen
from agent.core.cluster.judge import name_of
from agent.core.cluster.same import differences, same_of
from agent.core.judges.turn import Turn
from agent.core.state.phases import Phase
from agent.core.state.service import ServiceState


def waits_for(turn: Turn, s: ServiceState) -> str:
    """Return which host is not yet as this one is asked to be, "" where a restart may be now.

    What a host that is away was last heard to be counts: it could not start with this one now. Of
    one that was not heard yet, as the agent has just started, nothing is known.
    """
    group, cluster = s.group, turn.policy.services[s.name].settings.cluster
    if group is None or cluster is None or s.phase not in (Phase.VERIFYING, Phase.SERVING):
        return ""
    engine = turn.policy.engines[s.name]
    mine = same_of(turn.effective(s), engine.version, engine.torch, s.commit)
    for address in cluster.peers:
        seen = group.live.peers.get(address, PeerSeen())
        if seen.member is None:
            return f"{name_of(address, seen)} to be heard"
        unlike = [
            f"{one.name} is {one.here} here and {one.there} there"
            for one in differences(mine, seen.member.same)
        ]
        if unlike:
            return f"{name_of(address, seen)} to be the same: {', '.join(unlike)}"
    return ""
