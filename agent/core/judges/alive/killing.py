# SPDX-License-Identifier: Apache-2.0
"""A run that is proven to be dead though its process lives: evidence, then a kill."""

from __future__ import annotations

from dataclasses import replace

from agent.core.command.picture import picture_of
from agent.core.failures.classes import FailureClass
from agent.core.judges.turn import Turn
from agent.core.state.actions import Asked, TakeEvidence
from agent.core.state.outage import DETECT
from agent.core.state.phases import Phase, Then
from agent.core.state.service import ServiceState

HUNG = frozenset({FailureClass.ENGINE_HUNG, FailureClass.PEER_LOST})
"""Of what is over before it is found out, by how long no token came."""


def kill(turn: Turn, s: ServiceState, failure: FailureClass, why: str) -> ServiceState:
    """End the run for this reason; it is started again. In a pause it is only told of.

    What somebody stops already is left to systemd: a kill would cancel `systemctl restart` as well.
    """
    if s.live.unit is not None and s.live.unit.ending:
        return s
    if turn.pause_of(s) is not None:
        return turn.leave_alone(s, failure.value, f"{failure.value}: {why}")
    # Of an idle engine nobody wanted anything before the request that it did not answer.
    last = s.live.tokens_at if s.live.canary_amid_work else s.live.canary_at
    died_at = last if s.phase is Phase.SERVING else 0.0
    s = turn.enter(s, Phase.STOPPING, "kill", f"{failure.value}: {why}: kill and start again")
    if s.outage is not None and died_at and failure in HUNG:
        hidden = max(0.0, turn.at - died_at)
        outage = replace(s.outage, since=s.outage.since - hidden).with_step(DETECT, hidden)
        s = replace(s, outage=outage)
    settings = s.running or turn.policy_of(s).settings
    dumps = picture_of(settings).table("watchdog_config").get("dump_dir")
    place = dumps if isinstance(dumps, str) and dumps.startswith("/") else ""
    turn.do(TakeEvidence(s.name, s.invocation_id, settings.python, place))
    s = turn.stop(s, why, then=Then.RECOVER, kill=True)
    asked = s.asked
    assert isinstance(asked, Asked)
    return replace(s, asked=replace(asked, failure=failure, why=why))
