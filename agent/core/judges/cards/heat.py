# SPDX-License-Identifier: Apache-2.0
"""Warning and critical: a temperature counts once it lasted, and is over once it fell enough."""

from __future__ import annotations

from agent.core.changed import changed
from agent.core.gpu.reading import Gpu
from agent.core.gpu.temperature import (
    above_critical,
    above_warning,
    critical_celsius,
    warning_celsius,
)
from agent.core.judges.cards.sentences import named, tell
from agent.core.judges.turn import Turn
from agent.core.state.card import Card, HeatLevel

KINDS = {
    HeatLevel.NORMAL: "heat-over",
    HeatLevel.WARNING: "heat-warning",
    HeatLevel.CRITICAL: "heat-critical",
}


def on_gpu(turn: Turn, card: Card, gpu: Gpu) -> Card:
    """Judge the temperature."""
    if gpu.temperature_celsius is None:
        return card
    heat, thermal = card.heat, turn.policy.thermal
    seen = _level(turn, card, gpu)
    if seen is heat.level:
        return changed(card, heat=changed(heat, next_level=seen, next_since=0.0))
    if seen is not heat.next_level or not heat.next_since:
        return changed(card, heat=changed(heat, next_level=seen, next_since=turn.at))
    if turn.at - heat.next_since < thermal.after_seconds:
        return card
    _tell(turn, card, gpu, seen)
    entered = changed(heat, level=seen, since=turn.at, next_level=seen, next_since=0.0)
    return changed(card, heat=entered)


def _level(turn: Turn, card: Card, gpu: Gpu) -> HeatLevel:
    thermal, level = turn.policy.thermal, card.heat.level
    critical, warning = above_critical(gpu, thermal), above_warning(gpu, thermal)
    slack = thermal.hysteresis_celsius
    if critical is not None and critical >= (-slack if level is HeatLevel.CRITICAL else 0):
        return HeatLevel.CRITICAL
    if warning is not None and warning >= (0 if level is HeatLevel.NORMAL else -slack):
        return HeatLevel.WARNING
    return HeatLevel.NORMAL


def _tell(turn: Turn, card: Card, gpu: Gpu, level: HeatLevel) -> None:
    celsius, thermal = gpu.temperature_celsius, turn.policy.thermal
    lasted = turn.at - card.heat.since
    match level:
        case HeatLevel.CRITICAL:
            limit = critical_celsius(gpu, thermal)
            what = f"{celsius:g} C, {limit:g} C and more is critical"
        case HeatLevel.WARNING if card.heat.level is HeatLevel.NORMAL:
            what = f"{celsius:g} C, {warning_celsius(gpu, thermal):g} C and more is a warning"
        case HeatLevel.WARNING:
            what = f"{celsius:g} C, no longer critical after {lasted:.0f} s, still warm"
        case HeatLevel.NORMAL:
            what = f"{celsius:g} C, cool again after {lasted:.0f} s"
    tell(turn, card, KINDS[level], f"{named(card)}: {what}", celsius=celsius, level=level.value)
