# SPDX-License-Identifier: Apache-2.0
"""Reduced clocks told as cause and effect: one line when it begins, one when it is over.

The cause is NVML's reason with the temperature, the effect the clock and, for a service that
generates tokens, its rate against its own usual one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agent.core.changed import changed
from agent.core.engine.metrics import Counters
from agent.core.engine.token_rate import rate, usual
from agent.core.gpu import clock_reasons
from agent.core.gpu.reading import Gpu
from agent.core.judges.cards.fitness import cards_of
from agent.core.judges.cards.sentences import named, tell
from agent.core.judges.turn import Turn
from agent.core.state.card import Card, CardLive, Throttle
from agent.core.state.service import ServiceState

TOLD_AFTER_SECONDS = 3.0
"""A shorter one is a blink, unless the hardware did it for that long by the driver's counter."""

OVER_AFTER_SECONDS = 25.0
"""Counters of time are read every ten seconds; a flapping reason is one episode."""

LASTING_SECONDS = 60.0
"""What shows for a moment at every change of load must last to be a finding."""

FRESH_SECONDS = 15.0


def on_gpu(turn: Turn, card: Card, gpu: Gpu, before: Gpu | None, seconds: float) -> Card:
    """Judge the reasons of this look; `seconds` is how long ago the look `before` was."""
    reasons = clock_reasons.alarming(gpu, before, seconds)
    card, umbrella = _umbrella(turn, card, gpu)
    reasons += umbrella
    if reasons:
        card = _throttled(turn, card, gpu, reasons)
    elif card.throttle is not None:
        silent_since = card.live.throttled_at or card.throttle.since
        if turn.at - silent_since >= OVER_AFTER_SECONDS:
            card = _over(turn, card)
    return _held_back(turn, card, gpu)


def _umbrella(turn: Turn, card: Card, gpu: Gpu) -> tuple[Card, tuple[str, ...]]:
    since = card.live.umbrella_since if clock_reasons.umbrella_alone(gpu) else 0.0
    if clock_reasons.umbrella_alone(gpu) and not since:
        since = turn.at
    lasting = bool(since) and turn.at - since >= TOLD_AFTER_SECONDS
    card = changed(card, live=changed(card.live, umbrella_since=since))
    return card, ("HW_SLOWDOWN",) if lasting else ()


def _throttled(turn: Turn, card: Card, gpu: Gpu, reasons: tuple[str, ...]) -> Card:
    episode = card.throttle
    if episode is None:
        episode = Throttle(reasons, turn.at)
        card = changed(card, live=_without_costs(card.live))
    merged = episode.reasons + tuple(name for name in reasons if name not in episode.reasons)
    live = _with_costs(turn, card, gpu)
    card = changed(card, live=live)
    if not episode.told and turn.at - episode.since >= TOLD_AFTER_SECONDS:
        _tell_begin(turn, card, gpu, merged)
        episode = changed(episode, told=True)
    return changed(card, throttle=changed(episode, reasons=merged))


def _without_costs(live: CardLive) -> CardLive:
    return changed(
        live, worst_celsius=None, worst_clock_ratio=None, worst_tokens_ratio=None, throttled_at=0.0
    )


def _with_costs(turn: Turn, card: Card, gpu: Gpu) -> CardLive:
    live, locked = card.live, card.lock.target_mhz
    busy = (gpu.utilization_ratio or 0.0) > 0.0 or gpu.utilization_ratio is None
    clock = clock_reasons.clock_ratio(gpu, locked[-1] if locked else None) if busy else None
    rates = [rate for _, rate in _rates(turn, card)]
    return changed(
        live,
        throttled_at=turn.at,
        worst_celsius=_most(live.worst_celsius, gpu.temperature_celsius),
        worst_clock_ratio=_least(live.worst_clock_ratio, clock),
        worst_tokens_ratio=_least(live.worst_tokens_ratio, min(rates, default=None)),
    )


def _most(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else max(one, other)


def _least(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else min(one, other)


def _rates(turn: Turn, card: Card) -> Iterator[tuple[str, float]]:
    """Yield the services on the card that generate now, with the share of their usual rate."""
    for s in services_on(turn, card):
        live = s.live
        fresh = turn.at - live.counters_at <= FRESH_SECONDS
        if fresh and live.tokens_per_second is not None and live.usual_tokens_per_second:
            yield s.name, live.tokens_per_second / live.usual_tokens_per_second


def rates(turn: Turn, s: ServiceState, now: Counters) -> dict[str, Any]:
    """Return the fields of Live that tell how fast the service generates."""
    live = s.live
    new = rate(live.counters, now, turn.at - live.counters_at)
    if new is None or _is_throttled(turn, s):
        return {"tokens_per_second": new}
    known = usual(live.usual_tokens_per_second, live.rates_seen, new)
    return {
        "tokens_per_second": new,
        "usual_tokens_per_second": known,
        "rates_seen": live.rates_seen + 1,
    }


def _is_throttled(turn: Turn, s: ServiceState) -> bool:
    some = any(card.throttle for card in turn.cards.values())
    return some and any(card.throttle for card in cards_of(turn, s))


def services_on(turn: Turn, card: Card) -> Iterator[ServiceState]:
    """Yield the services whose settings put them on the card."""
    for s in turn.services.values():
        if any(one.uuid == card.uuid for one in cards_of(turn, s)):
            yield s


def _tell_begin(turn: Turn, card: Card, gpu: Gpu, reasons: tuple[str, ...]) -> None:
    effects = []
    if card.live.worst_clock_ratio is not None:
        effects.append(f"SM clock at {card.live.worst_clock_ratio:.0%} of its maximum")
    for name, ratio in _rates(turn, card):
        effects.append(f"{name} generates {ratio:.0%} of its usual tokens/s")
    cost = f": {', '.join(effects)}" if effects else ""
    tell(
        turn,
        card,
        "throttled",
        f"{named(card)} is slowed down ({' and '.join(reasons)}{_warmth(gpu)}){cost}",
        reasons=list(reasons),
        celsius=gpu.temperature_celsius,
        clock_ratio=card.live.worst_clock_ratio,
        tokens_ratio=card.live.worst_tokens_ratio,
    )


def _warmth(gpu: Gpu) -> str:
    if gpu.temperature_celsius is None:
        return ""
    left = gpu.margin_celsius
    margin = f", {left:g} C left" if left is not None else ""
    return f" at {gpu.temperature_celsius:g} C{margin}"


def _over(turn: Turn, card: Card) -> Card:
    episode, live = card.throttle, card.live
    assert episode is not None
    lasted = max(0.0, (live.throttled_at or episode.since) - episode.since)
    if episode.told:
        costs = []
        if live.worst_celsius is not None:
            costs.append(f"up to {live.worst_celsius:g} C")
        if live.worst_clock_ratio is not None:
            costs.append(f"SM clock down to {live.worst_clock_ratio:.0%}")
        if live.worst_tokens_ratio is not None:
            costs.append(f"tokens/s down to {live.worst_tokens_ratio:.0%}")
        what = f"is no longer slowed down ({' and '.join(episode.reasons)}) after {lasted:.0f} s"
        worst = f": {', '.join(costs)}" if costs else ""
        tell(turn, card, "throttle-over", f"{named(card)} {what}{worst}", seconds=lasted)
    return changed(card, throttle=None, live=_without_costs(live))


def _held_back(turn: Turn, card: Card, gpu: Gpu) -> Card:
    """Note low clocks that no reason explains, or that the reason given cannot.

    They must last before they are told: `live.held_back_since` is when they began to show,
    `hidden_throttle_since` the same once it is told, 0 when nothing is.
    """
    why = _unexplained(card, gpu)
    if not why:
        return _held_back_no_more(turn, card)
    since = card.live.held_back_since or turn.at
    card = changed(card, live=changed(card.live, held_back_since=since))
    if card.hidden_throttle_since or turn.at - since < LASTING_SECONDS:
        return card
    ratio = clock_reasons.clock_ratio(gpu)
    clock = f"its SM clock is at {ratio:.0%}" if ratio is not None else "its clock is low"
    tell(turn, card, "throttled", f"{named(card)} is busy and {clock}, but {why}")
    return changed(card, hidden_throttle_since=since)


def _held_back_no_more(turn: Turn, card: Card) -> Card:
    if card.hidden_throttle_since:
        tell(turn, card, "throttle-over", f"{named(card)} is no longer held back")
    return changed(card, hidden_throttle_since=0.0, live=changed(card.live, held_back_since=0.0))


def _unexplained(card: Card, gpu: Gpu) -> str:
    """Return what the driver says, or does not say, of low clocks; "" where they are as told."""
    if clock_reasons.capped_far_below(gpu):
        watts, limit = gpu.power_watts, gpu.power_limits.enforced_watts
        return f"SW_POWER_CAP at {watts:.0f} W of {limit:.0f} W: a current limit or a weak supply"
    locked = card.lock.target_mhz
    if clock_reasons.hidden(gpu, locked[-1] if locked else None):
        return "no reason is given: firmware or its power supply may; unplug it for a minute"
    return ""
