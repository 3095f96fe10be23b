# SPDX-License-Identifier: Apache-2.0
"""[thermal] action = "lower_power": a limit that gives way to heat and comes back by itself.

Down one step at a time while the hardware itself slows the card down or it is critical, up one step
after a long cool while. Heat follows power with a delay of up to minutes; so each step waits for
its effect, and a limit that was too hot is not tried again for a long while: the lower one stays.
"""

from __future__ import annotations

from agent.core.changed import changed
from agent.core.gpu.clock_reasons import hardware_heat
from agent.core.gpu.reading import ClockEvents, Gpu
from agent.core.gpu.temperature import above_warning
from agent.core.judges.cards.sentences import named, tell
from agent.core.judges.turn import Turn
from agent.core.settings.gpus import ThermalAction
from agent.core.state.card import Card, HeatLevel, LeverState

DOWN_SECONDS = 20.0
STEP_SHARE = 0.05
FLOOR_SHARE = 0.5
"""Of the limit that is asked for: below, a card costs more than it serves."""


def on_gpu(turn: Turn, card: Card, gpu: Gpu, before: Gpu | None) -> Card:
    """Take a step when one is due."""
    heat = card.heat
    if turn.policy.thermal.action is not ThermalAction.LOWER_POWER:
        return card if heat.lowered_to_watts is None else _give_all_back(turn, card)
    ceiling = _ceiling(card, gpu)
    if ceiling is None or card.cap.state not in (LeverState.OFF, LeverState.IN_FORCE):
        return card
    slowed = hardware_heat(gpu, before)
    hot = slowed or heat.level is HeatLevel.CRITICAL
    card = _cooling(turn, card, gpu, hot=hot)
    if hot:
        return _down(turn, card, gpu, ceiling, slowed=slowed)
    return _up(turn, card, ceiling)


def _ceiling(card: Card, gpu: Gpu) -> float | None:
    """Return the limit without any heat: as asked, as found, or as it is."""
    cap = card.cap
    asked = cap.asked_watts if cap.asked_watts is not None else cap.found_watts
    if asked is None:
        asked = gpu.power_limits.requested_watts
    highest = gpu.power_limits.max_watts
    return asked if asked is None or highest is None else min(asked, highest)


def _floor(turn: Turn, gpu: Gpu, ceiling: float) -> float:
    asked = turn.policy.thermal.min_limit_watts
    own = gpu.power_limits.min_watts or 0.0
    floor = max(own, asked) if asked is not None else max(own, FLOOR_SHARE * ceiling)
    return min(floor, ceiling)


def _step(turn: Turn, ceiling: float) -> float:
    return turn.policy.thermal.step_watts or max(1.0, round(STEP_SHARE * ceiling))


def _cooling(turn: Turn, card: Card, gpu: Gpu, *, hot: bool) -> Card:
    above = above_warning(gpu, turn.policy.thermal)
    warm = above is not None and above > -turn.policy.thermal.hysteresis_celsius
    software = bool(gpu.clock_events and gpu.clock_events & ClockEvents.SW_THERMAL_SLOWDOWN)
    if hot or warm or software:
        return changed(card, live=changed(card.live, cool_since=0.0))
    if card.live.cool_since:
        return card
    return changed(card, live=changed(card.live, cool_since=turn.at))


def _down(turn: Turn, card: Card, gpu: Gpu, ceiling: float, *, slowed: bool) -> Card:
    heat = card.heat
    now = heat.lowered_to_watts if heat.lowered_to_watts is not None else ceiling
    floor = _floor(turn, gpu, ceiling)
    if now <= floor or turn.at - heat.stepped_at < DOWN_SECONDS:
        return card
    lower = max(floor, now - _step(turn, ceiling))
    why = "the hardware slows it down" if slowed else "it is critical"
    at = f" at {gpu.temperature_celsius:g} C" if gpu.temperature_celsius is not None else ""
    floor_note = ", the floor" if lower <= floor else ""
    what = f"power limit {now:g} -> {lower:g} W{floor_note}: {why}{at}"
    tell(turn, card, "power-lowered", f"{named(card)}: {what}", watts=lower)
    known = heat.too_hot_watts if turn.at < heat.too_hot_until else None
    lowered = changed(
        heat,
        lowered_to_watts=lower,
        stepped_at=turn.at,
        too_hot_watts=now if known is None else min(known, now),
        too_hot_until=turn.at + turn.policy.thermal.retry_seconds,
    )
    return changed(card, heat=lowered)


def _up(turn: Turn, card: Card, ceiling: float) -> Card:
    heat, cool_since = card.heat, card.live.cool_since
    now, cool_seconds = heat.lowered_to_watts, turn.policy.thermal.cool_seconds
    if now is None or not cool_since:
        return card
    if turn.at - max(cool_since, heat.stepped_at) < cool_seconds:
        return card
    higher = min(ceiling, now + _step(turn, ceiling))
    too_hot = heat.too_hot_watts if turn.at < heat.too_hot_until else None
    if too_hot is not None and higher >= too_hot:
        return card
    lowered = higher if higher < ceiling else None
    change = (
        f"power limit {now:g} -> {higher:g} W{', all that heat took' if lowered is None else ''}"
    )
    what = f"{change}: it has been cool for {cool_seconds:.0f} s"
    tell(turn, card, "power-raised", f"{named(card)}: {what}", watts=higher)
    return changed(card, heat=changed(heat, lowered_to_watts=lowered, stepped_at=turn.at))


def _give_all_back(turn: Turn, card: Card) -> Card:
    tell(turn, card, "power-raised", f"{named(card)}: heat takes nothing off its power any more")
    return changed(card, heat=changed(card.heat, lowered_to_watts=None, stepped_at=turn.at))
