# SPDX-License-Identifier: Apache-2.0
"""This host's own word on its rank, for the others of the group."""

from __future__ import annotations

from agent.core.cluster.member import LONGEST_SENTENCE, Cause, Member, Stance
from agent.core.cluster.same import power_of, same_of
from agent.core.settings.cluster import ClusterSettings
from agent.core.state.phases import RUNS, Phase
from agent.core.state.policy import HostPolicy
from agent.core.state.service import ServiceState
from agent.core.state.steering.wishes import Pause, pause_in_force


def word_of(
    s: ServiceState,
    policy: HostPolicy,
    cluster: ClusterSettings,
    host_pause: Pause | None,
    now: float,
    slow: str = "",
) -> Member:
    """Return it for a service that has a group; `host_pause` is that of the whole host.

    `slow` is what slows its cards down.
    """
    group = s.group
    assert group is not None
    learned = {name: one.running for name, one in s.learned.overrides.items()}
    settings = s.in_force(policy.services[s.name]).settings.with_overrides(learned)
    engine = policy.engines[s.name]
    waits = s.phase is Phase.WAITING and s.live.blocked_by
    reason = s.live.blocked_by if waits else f"{s.phase.value}: {s.reason}"
    pause = pause_in_force((s.pause, host_pause), now)
    cause = group.cause
    return Member(
        member=cluster.member,
        generation=group.generation,
        stance=stance_of(s),
        head=cluster.is_head,
        reason=reason[:LONGEST_SENTENCE],
        sees=group.live.sees,
        cause=None if cause is None else _short(cause),
        held_back=slow[:LONGEST_SENTENCE],
        rolled_back="" if s.rolled_back is None else s.rolled_back.why[:LONGEST_SENTENCE],
        paused_by="" if pause is None else pause.by,
        paused_seconds=0.0 if pause is None else pause.until - now,
        lessons=group.lessons,
        same={
            **same_of(settings, engine.version, engine.torch, s.commit),
            **power_of(policy.power),
        },
    )


def _short(cause: Cause) -> Cause:
    sentence = cause.sentence[:LONGEST_SENTENCE]
    return Cause(sentence, cause.failure, cause.host, planned=cause.planned)


def stance_of(s: ServiceState) -> Stance:
    """Return how this host stands to its generation."""
    group, unit = s.group, s.live.unit
    assert group is not None
    starts = s.asked is not None and not s.asked.stop
    # Until the unit was looked at, what is remembered of it counts.
    up = s.phase in RUNS if unit is None else unit.running or starts
    if up and group.used and s.phase in RUNS:
        return Stance.SERVING if s.phase is Phase.SERVING else Stance.RUNNING
    if up:
        return Stance.ENDING
    is_ready = group.live.ready and s.phase is Phase.WAITING
    return Stance.READY if is_ready else Stance.DOWN
