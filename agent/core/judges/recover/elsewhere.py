# SPDX-License-Identifier: Apache-2.0
"""A rank that ended because another one did: what its own log says then is only the echo.

With gloo and NCCL a rank dies of its peer's death, seconds later and with a sentence of its own
("Connection closed by peer"). The cause is on the other host, whose agent tells it.
"""

from __future__ import annotations

from agent.core.cluster.echoes import BETWEEN_RANKS, ECHOES, is_cause
from agent.core.cluster.group import Group
from agent.core.cluster.judge import heard
from agent.core.cluster.member import UNKNOWN, Cause
from agent.core.failures.classes import FailureClass
from agent.core.judges.turn import Turn
from agent.core.state.service import ServiceState

OWN_RESULTS = frozenset({"signal", "core-dump", "oom-kill", "watchdog"})
"""systemd's results of a process that was ended here; one that ends of an echo exits (RUN 0.32)."""

WORD_SECONDS = 15.0
"""How long another host's word is waited for: the head dies 5 s after a rank's worker, and that
rank's own process ends only then (RUN 0.32, two hosts). None could start before it anyway."""


def cause_of(group: Group, failure: FailureClass, at: float) -> str:
    """Return what another host says has failed there since the own rank was started; "": nothing.

    For a failure that may be its echo: one of another kind is a cause of its own.
    """
    if failure not in ECHOES:
        return ""
    started = group.run or UNKNOWN
    told: list[Cause | None] = [
        theirs.cause for _, theirs in heard(group.live.peers, at) if theirs.generation > started
    ]
    if group.generation > started:
        told.append(group.cause)
    for cause in told:
        if cause is not None and cause.host and is_cause(cause):
            return f"{cause.host}: {cause.sentence}"
    return ""


def may_come(turn: Turn, s: ServiceState, failure: FailureClass) -> bool:
    """Tell whether a peer that answers may still say what has failed there."""
    if s.group is None or failure not in BETWEEN_RANKS or turn.at - s.since >= WORD_SECONDS:
        return False
    if s.died is not None and s.died.result in OWN_RESULTS:
        return False
    return any(heard(s.group.live.peers, turn.at))
