# SPDX-License-Identifier: Apache-2.0
"""What slows the cards of a service, for the others of its group: the slowest sets their pace."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agent.core.gpu.reading import Gpus
from agent.core.state.card import Card
from agent.core.state.service import ServiceState

MOST_NAMED = 3
"""Of a host's cards, in one sentence."""


def held_back(s: ServiceState, gpus: Gpus | None, cards: Mapping[str, Card]) -> str:
    """Return it as one sentence, "" while nothing does; `cards` are by UUID."""
    if gpus is None or s.running is None:
        return ""
    found = tuple(_found(gpus, s.running.gpus, cards))
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return "; ".join(found[:MOST_NAMED]) + more


def _found(gpus: Gpus, names: tuple[str, ...], cards: Mapping[str, Card]) -> Iterator[str]:
    for gpu in gpus.used_by(names):
        card = cards.get(gpu.uuid)
        if card is None:
            continue
        lowered, throttle = card.heat.lowered_to_watts, card.throttle
        if lowered is not None:
            yield f"GPU {gpu.index} is held at {lowered:g} W for its heat"
        elif throttle is not None and throttle.told:
            yield f"GPU {gpu.index} is slowed down ({', '.join(throttle.reasons)})"
