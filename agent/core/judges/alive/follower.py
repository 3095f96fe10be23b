# SPDX-License-Identifier: Apache-2.0
"""A rank that takes no requests: it prints nothing more once it is loaded, and opens no port.

Its silence is health as long as its head is there, which is judged by its own log, its own tokens
and its own requests. What becomes of a rank whose head is gone is in `agent.core.cluster.judge`.
"""

from __future__ import annotations

from dataclasses import replace

from agent.core.cluster.judge import heard, name_of
from agent.core.cluster.member import Stance
from agent.core.judges.alive.start_told import tell_start
from agent.core.judges.turn import Turn
from agent.core.state.phases import Phase
from agent.core.state.service import ServiceState


def serves_with_its_head(turn: Turn, s: ServiceState) -> ServiceState:
    """Return a rank that starts as serving, once its head serves in the same generation."""
    head = _head_that_serves(turn, s)
    if not head:
        return s
    took = turn.at - s.started_at
    ready = f"the head, {head}, has met all ranks, {took:.0f} s after the start"
    s = turn.enter(s, Phase.VERIFYING, "ready", ready)
    why = f"serving: the head, {head}, answers requests"
    s = tell_start(turn, replace(s.enter(Phase.SERVING, turn.at, why), start_seconds=took))
    turn.tell(s.name, "serving", why, phase=Phase.SERVING.value)
    return replace(s, live=replace(s.live, tokens_at=turn.at))


def _head_that_serves(turn: Turn, s: ServiceState) -> str:
    group = s.group
    if group is None or not group.used:
        return ""
    for address, theirs in heard(group.live.peers, turn.at):
        together = theirs.generation == group.generation
        if theirs.member == 0 and together and theirs.stance is Stance.SERVING:
            return name_of(address, group.live.peers[address])
    return ""
