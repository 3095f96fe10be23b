# SPDX-License-Identifier: Apache-2.0
"""Learned settings hold for the group: what one host learns, the others use at the next start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from agent.core.cluster.judge import heard, name_of
from agent.core.cluster.lessons import Lesson, newer, with_own, within
from agent.core.cluster.same import differences, same_of
from agent.core.judges.turn import Turn
from agent.core.state.learned import NOTHING_LEARNED, Override, RolledBack
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


def roll_back_with_others(turn: Turn, s: ServiceState) -> ServiceState:
    """Go back to the last known good settings as another host has, where they are the same there.

    One that cannot says what differs, as any host whose settings are others.
    """
    group, good, unit = s.group, s.last_good, s.live.unit
    if group is None or good is None or s.rolled_back is not None:
        return s
    if unit is None or unit.running or not turn.policy_of(s).recovery.roll_back:
        return s
    engine = turn.policy.engines[s.name]
    now = same_of(turn.effective(s), engine.version, engine.torch)
    then = same_of(good.settings, engine.version, engine.torch)
    for address, theirs in heard(group.live.peers, turn.at):
        if not theirs.rolled_back:
            continue
        if any(differences(then, theirs.same)) or not any(differences(now, theirs.same)):
            continue
        name = name_of(address, group.live.peers[address])
        why = f"{name} has gone back to them: {theirs.rolled_back}"
        rolled = RolledBack(turn.at, why, good.settings, good.expect)
        turn.tell(s.name, "rolled-back", rolled.note)
        return replace(s, rolled_back=rolled, learned=NOTHING_LEARNED)
    return s


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
