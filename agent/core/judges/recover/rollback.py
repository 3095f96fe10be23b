# SPDX-License-Identifier: Apache-2.0
"""Last known good: a changed configuration that fails for good gives way to the one before.

Only once for each configuration, and not where the old settings would meet the same failure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace

from agent.core.failures.classes import FailureClass, Group
from agent.core.failures.meaning import group_of
from agent.core.judges.turn import Turn
from agent.core.settings.changes import redacted
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.learned import NOTHING_LEARNED, LastGood, RolledBack
from agent.core.state.phases import Phase
from agent.core.state.service import ServiceState

MODEL = frozenset({"model", "revision", "tokenizer", "hf_token_file", "environment", "user"})
ENGINE = frozenset({"python", "engine", "environment", "gpus", "sandbox", "user"})
ANY: frozenset[str] = frozenset()

CAUSED_BY: Mapping[Group, frozenset[str]] = {
    Group.CONFIGURATION: ANY,
    Group.MEMORY: ANY,
    Group.BUILD: ANY,
    Group.ENGINE: ANY,
    Group.UNKNOWN: ANY,
    Group.FILES: MODEL,
    Group.HUB: MODEL,
    Group.HOST: MODEL,
    Group.HOST_SOFTWARE: ENGINE,
}
"""The settings whose change may have brought a failure of the group about; ANY of them for those
that any setting may cause. A group that is not here would meet the old settings just as well."""

UNPROVEN_ATTEMPTS = 4
"""Failed starts without a known cause that make a configuration, which never served, a bad one."""


def remember(turn: Turn, s: ServiceState) -> ServiceState:
    """Take what has just settled for the last known good."""
    configured = turn.policy.services[s.name].settings
    if s.rolled_back is not None or s.running != turn.effective(s):
        return s
    facts = s.live.facts
    kv_gib = facts.available_kv_gib if facts is not None else None
    good = LastGood(configured, s.learned.unmeasured(s.running), turn.policy_of(s).expect, kv_gib)
    return replace(s, last_good=good)


def is_given_up(turn: Turn, s: ServiceState, failure: FailureClass) -> bool:
    """Tell whether a changed configuration failed so often that no further try is worth it.

    For failures that a new start might cure, so that they are never held.
    """
    never_ready = s.died is None or s.died.phase is Phase.STARTING
    vague = group_of(failure) in (Group.UNKNOWN, Group.ENGINE)
    return (
        vague and never_ready and s.learned.attempts >= UNPROVEN_ATTEMPTS and _may(turn, s, failure)
    )


def instead_of_holding(
    turn: Turn, s: ServiceState, failure: FailureClass, why: str
) -> ServiceState | None:
    """Return the service on its last known good settings; None where it must be held."""
    if not _may(turn, s, failure):
        return None
    good = s.last_good
    assert good is not None
    changed = ", ".join(differences(good.configured, turn.policy.services[s.name].settings))
    why = f"agent.toml's new settings fail for good ({why}); changed were {changed}"
    rolled = RolledBack(turn.at, why, good.settings, good.expect)
    return replace(
        s,
        rolled_back=rolled,
        learned=NOTHING_LEARNED,
        held=None,
        asked=None,
    )


def _may(turn: Turn, s: ServiceState, failure: FailureClass) -> bool:
    policy = turn.policy.services[s.name]
    if not policy.recovery.roll_back or s.rolled_back is not None or s.last_good is None:
        return False
    changed = _differing(s.last_good.configured, policy.settings)
    causes = CAUSED_BY.get(group_of(failure))
    return bool(changed) and causes is not None and (not causes or not causes.isdisjoint(changed))


def ends(s: ServiceState, configured: ServicePolicy) -> bool:
    """Tell whether a new agent.toml asks for something else than what was rolled back."""
    return s.rolled_back is not None and (
        s.configured != configured.settings or not configured.recovery.roll_back
    )


def differences(old: Settings, new: Settings) -> tuple[str, ...]:
    """Return one phrase for each setting that differs; what may hold a secret only by name."""
    return tuple(
        name
        if name in ("environment", "extra_args")
        else f"{name} {redacted(getattr(old, name))} -> {redacted(getattr(new, name))}"
        for name in _differing(old, new)
    )


def _differing(old: Settings, new: Settings) -> tuple[str, ...]:
    names = (item.name for item in fields(old))
    return tuple(name for name in names if getattr(old, name) != getattr(new, name))
