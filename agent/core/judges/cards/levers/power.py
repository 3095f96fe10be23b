# SPDX-License-Identifier: Apache-2.0
"""Holds each card to its power limit: set, read back, compared, set again when it drifts.

A limit is lost with a reboot, an unload of the driver, a reset of the card, and by another hand;
NVML tells requested from enforced, where the lowest of all that limit the card wins (nvml.h 13.5).
A wish outside of the card's range is brought to its nearest end, as a card at its lowest limit is
nearer to what was asked than one without any.
"""

from __future__ import annotations

from agent.core.changed import changed
from agent.core.gpu.reading import Gpu, PowerLimits
from agent.core.judges.cards.levers import lever
from agent.core.judges.cards.levers.lever import Stage
from agent.core.judges.cards.sentences import named, tell
from agent.core.judges.turn import Turn
from agent.core.measures import HOUR_SECONDS
from agent.core.settings.gpus import CardLimits
from agent.core.state.actions import SetPowerLimit
from agent.core.state.card import Attempt, Cap, Card, Cause, LeverState
from agent.core.state.observations import GpuActionDone, GpuOutcome

TOLERANCE_WATTS = 1.0
"""The driver rounds; enforced and requested differ by less where nothing else limits the card."""

FOREIGN_PER_HOUR = 3
"""After so many changes by others within an hour, the next one is left in place."""

UPSET_SECONDS = 120.0
"""How long after a reload, a reset or the agent's start a lost limit is put down to it."""

CAUSES = {
    Cause.START: "since the agent last looked",
    Cause.DRIVER_RELOAD: "by a reload of the driver",
    Cause.RESET: "by a reset of the card",
    Cause.FOREIGN: "by somebody else",
}


def on_gpu(turn: Turn, card: Card, gpu: Gpu) -> Card:
    """Judge a reading of the card against what is asked of it."""
    limits = turn.policy.power.limits_of(card.uuid, gpu.index, gpu.name)
    if limits.caps_power and gpu.power_limits.requested_watts is None:
        return changed(card, cap=_no_limit(turn, card, limits))
    asked = _asked(limits, gpu.power_limits)
    cap = card.cap
    if asked != cap.asked_watts:
        cap = _asked_anew(turn, card, gpu, asked)
    target = _target(card, cap, gpu)
    if target is None:
        return changed(card, cap=Cap(reasserts=cap.reasserts))
    if gpu.power_limits.requested_watts is None:
        return card
    if target != cap.target_watts:
        over = cap.state in (LeverState.IN_FORCE, LeverState.BLOCKED)
        state = LeverState.SETTING if over else cap.state
        attempt = Attempt(why=cap.attempt.why)
        cap = changed(cap, target_watts=target, state=state, attempt=attempt)
    return _compare(turn, changed(card, cap=cap), gpu)


def _asked(limits: CardLimits, known: PowerLimits) -> float | None:
    """Return the watts that agent.toml asks for, whatever the card takes."""
    if limits.limit_ratio is None:
        return limits.limit_watts
    whole = known.default_watts or known.max_watts or known.requested_watts
    return None if whole is None else float(round(limits.limit_ratio * whole))


def _asked_anew(turn: Turn, card: Card, gpu: Gpu, asked: float | None) -> Cap:
    limits = gpu.power_limits
    cap = changed(card.cap, asked_watts=asked, target_watts=None, why="", foreign_at=())
    if asked is None:
        return changed(cap, attempt=Attempt(why="agent.toml asks for no limit any more"))
    within = _within(asked, limits)
    before = f", {limits.requested_watts:g} W before" if limits.requested_watts else ""
    if within != asked and limits.requested_watts is not None:
        span = f"{limits.min_watts:g} to {limits.max_watts:g} W"
        why = f"agent.toml asks for {asked:g} W, the card takes {span}: {within:g} W it is"
        tell(turn, card, "power", f"{named(card)}: {why}")
    return changed(
        cap, attempt=Attempt(why=f"as agent.toml asks{before}"), state=LeverState.SETTING
    )


def _within(watts: float, limits: PowerLimits) -> float:
    low = limits.min_watts if limits.min_watts is not None else watts
    high = limits.max_watts if limits.max_watts is not None else watts
    return min(max(watts, low), high)


def _target(card: Card, cap: Cap, gpu: Gpu) -> float | None:
    """Return what the limit shall be now; None when it is nobody's business here."""
    base = cap.asked_watts if cap.asked_watts is not None else cap.found_watts
    lowered = card.heat.lowered_to_watts
    if lowered is not None:
        base = lowered if base is None else min(base, lowered)
    return None if base is None else _within(base, gpu.power_limits)


def _no_limit(turn: Turn, card: Card, limits: CardLimits) -> Cap:
    other = "" if limits.lock_clocks_mhz else "; `lock_clocks_mhz` can hold it instead"
    forgotten = changed(card.cap, asked_watts=None, target_watts=None)
    why = f"the card has none that can be set{other}"
    return lever.refused(turn, card, forgotten, why, "no power limit")


def _compare(turn: Turn, card: Card, gpu: Gpu) -> Card:
    """Take the one step that the reading asks for; the order is that of `lever.stage`."""
    cap, requested = card.cap, gpu.power_limits.requested_watts
    assert cap.target_watts is not None
    assert requested is not None
    reached = abs(requested - cap.target_watts) <= TOLERANCE_WATTS
    match lever.stage(turn, cap, reached=reached, patience=lever.READ_BACK_SECONDS):
        case Stage.UNDER_WAY | Stage.BLOCKED | Stage.READING_BACK | Stage.RESTING:
            return card
        case Stage.REACHED:
            return _in_force(turn, card, gpu)
        case Stage.LOST:
            return _not_taken(turn, card, "nvidia-smi never came back")
        case Stage.NOT_TAKEN:
            return _not_taken(turn, card, f"nvidia-smi set it, but NVML reads {requested:g} W")
        case Stage.DUE if cap.state is LeverState.IN_FORCE:
            return _drifted(turn, card, gpu)
        case Stage.DUE:
            return _set(turn, card, gpu, "")


def _set(turn: Turn, card: Card, gpu: Gpu, why: str) -> Card:
    cap = card.cap
    assert cap.target_watts is not None
    action_id = turn.take_id()
    turn.do(SetPowerLimit(card.uuid, action_id, cap.target_watts))
    found = cap.found_watts
    if found is None:
        found = gpu.power_limits.requested_watts
    attempt = lever.begin(turn, cap.attempt, action_id, why)
    setting = cap.state if cap.state is LeverState.DEGRADED else LeverState.SETTING
    return changed(card, cap=changed(cap, state=setting, found_watts=found, attempt=attempt))


def _in_force(turn: Turn, card: Card, gpu: Gpu) -> Card:
    cap = card.cap
    watts = f"{cap.target_watts:g} W"
    if cap.asked_watts is None and card.heat.lowered_to_watts is None:
        tell(turn, card, "power", f"{named(card)}: power limit is back at {watts}, as it was found")
        return changed(card, cap=Cap(reasserts=cap.reasserts))
    if cap.state is not LeverState.IN_FORCE and cap.attempt.why:
        why = f"power limit {watts} is in force, {cap.attempt.why}"
        tell(turn, card, "power", f"{named(card)}: {why}", watts=cap.target_watts)
    cap = changed(cap, state=LeverState.IN_FORCE, why="", attempt=Attempt())
    return changed(card, cap=_held_lower(turn, card, cap, gpu))


def _held_lower(turn: Turn, card: Card, cap: Cap, gpu: Gpu) -> Cap:
    """Note a limit that is enforced below the target: a finding, nothing to fight."""
    enforced, target = gpu.power_limits.enforced_watts, cap.target_watts
    assert target is not None
    if enforced is None or enforced >= target - TOLERANCE_WATTS:
        return changed(cap, held_lower_watts=None)
    if cap.held_lower_watts is None:
        why = f"{enforced:g} W are enforced, below the {target:g} W asked: the board or a BMC does"
        tell(turn, card, "power", f"{named(card)}: {why}", watts=enforced)
    return changed(cap, held_lower_watts=enforced)


def _drifted(turn: Turn, card: Card, gpu: Gpu) -> Card:
    cap, requested = card.cap, gpu.power_limits.requested_watts
    cause = _cause(turn, card)
    recent = tuple(t for t in cap.foreign_at if t > turn.at - HOUR_SECONDS)
    if cause is Cause.FOREIGN:
        recent = (*recent, turn.at)
    what = f"power limit is {requested:g} W, not {cap.target_watts:g} W: changed {CAUSES[cause]}"
    cap = changed(cap, foreign_at=recent)
    if len(recent) > FOREIGN_PER_HOUR:
        why = f"{what} for the {len(recent)}th time within an hour, so it is left alone for an hour"
        tell(turn, card, "power-yielded", f"{named(card)}: {why}", cause=cause.value)
        later = Attempt(retry_at=turn.at + HOUR_SECONDS, why="after an hour of leaving it")
        cap = changed(cap, state=LeverState.YIELDED, why=why, attempt=later, foreign_at=())
        return changed(card, cap=cap)
    tell(turn, card, "power-drift", f"{named(card)}: {what}; it is set again", cause=cause.value)
    reasserts = {**cap.reasserts, cause: cap.reasserts.get(cause, 0) + 1}
    return _set(turn, changed(card, cap=changed(cap, reasserts=reasserts)), gpu, "set again")


def _cause(turn: Turn, card: Card) -> Cause:
    if card.live.upset is not None and turn.at - card.live.upset_at <= UPSET_SECONDS:
        return card.live.upset
    return Cause.FOREIGN


def _not_taken(turn: Turn, card: Card, why: str) -> Card:
    cap = card.cap
    what = f"power limit {cap.target_watts:g} W is not in force after {cap.attempt.tries} tries"
    said = f"{what}: {why}; it is tried once an hour from now on"
    return changed(card, cap=lever.not_taken(turn, card, cap, why, said))


def on_done(turn: Turn, card: Card, done: GpuActionDone) -> Card:
    """Take note of how nvidia-smi ended."""
    cap = card.cap
    if done.outcome is GpuOutcome.DONE:
        return changed(card, cap=changed(cap, attempt=lever.record_success(turn, cap.attempt)))
    if done.outcome is GpuOutcome.FAILED:
        return _not_taken(turn, card, done.detail)
    why = lever.why_refused(done)
    return changed(card, cap=lever.refused(turn, card, cap, why, "no power limit"))


def setting(card: Card) -> Cap:
    """Return how far the power limit has come."""
    return card.cap


def begin_anew(card: Card) -> Card:
    """Return the card with nothing under way; what it is set for is told all the same."""
    return changed(card, cap=changed(card.cap, attempt=Attempt(why=card.cap.attempt.why)))


def again(card: Card) -> Card:
    """Return the card with what was given up before due for another try."""
    cap = card.cap
    if cap.state in (LeverState.BLOCKED, LeverState.DEGRADED, LeverState.YIELDED):
        fresh = changed(cap, asked_watts=None, target_watts=None, state=LeverState.SETTING)
        return changed(card, cap=changed(fresh, attempt=Attempt()))
    return card
