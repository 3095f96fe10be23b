# SPDX-License-Identifier: Apache-2.0
"""How the history speaks of GPUs."""

from __future__ import annotations

from agent.core.judges.turn import AGENT, Turn
from agent.core.state.card import Card


def named(card: Card) -> str:
    """Return what a sentence calls a card: "GPU 0 (NVIDIA GeForce RTX 4090)"."""
    return f"{card.label} ({card.name})" if card.name else card.label


def tell(turn: Turn, card: Card, kind: str, message: str, **data: object) -> None:
    """Add a line about a card to the history."""
    turn.tell(AGENT, kind, message, gpu=card.index, uuid=card.uuid, **data)
