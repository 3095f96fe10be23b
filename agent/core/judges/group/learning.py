# SPDX-License-Identifier: Apache-2.0
"""Learned settings hold for the group: what one host learns, the others use at the next start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from agent.core.cluster.judge import name_of
from agent.core.cluster.lessons import Lesson, newer, with_own, within
from agent.core.judges.turn import Turn
from agent.core.state.learned import Override
from agent.core.state.service import ServiceState


def share(turn: Turn, s: ServiceState, member: int) -> ServiceState:
    """Take note of what this host has learned, and take over what others have."""
    assert s.group is not None
    running = {
        name: (one.running, one.why)
        for name, one in s.learned.overrides.items()
        if not one.measured
    }
    lessons = with_own(s.group.lessons, running, member)
    taken: dict[str, Lesson] = {}
    recovery = turn.policy_of(s).recovery
    for address, seen in s.group.live.peers.items():
        if seen.member is None:
            continue
        for name, one in newer({**lessons, **taken}, seen.member.lessons):
            if within(name, one.value, recovery):
                why = one.why if one.by == member else f"learned on {name_of(address, seen)}"
                taken[name] = replace(one, why=one.why or why)
    if taken:
        s = _with(turn, s, taken)
    group = s.group
    if group is None or (not taken and lessons is group.lessons):
        return s
    return replace(s, group=replace(group, lessons={**lessons, **taken}))


def _with(turn: Turn, s: ServiceState, taken: Mapping[str, Lesson]) -> ServiceState:
    overrides = dict(s.learned.overrides)
    configured = turn.policy_of(s).settings
    for name, one in taken.items():
        known = overrides.get(name)
        if one.value is None:
            if overrides.pop(name, None) is not None:
                turn.tell(s.name, "learned", f"{name} is as configured again, as on other hosts")
        elif known is None or known.running != one.value:
            asked = getattr(configured, name, None)
            overrides[name] = Override(asked, one.value, turn.at, f"on another host: {one.why}")
            turn.tell(
                s.name, "learned", f"{name} = {one.value} from now on, as on other hosts: {one.why}"
            )
    return replace(s, learned=replace(s.learned, overrides=overrides))
