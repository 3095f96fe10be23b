# SPDX-License-Identifier: Apache-2.0
"""The inventory of GPUs: which there are, which were there before."""

from __future__ import annotations

from dataclasses import replace

from agent.core.card import Card
from agent.core.gpu import Gpu, Gpus
from agent.core.observations import GpusSeen
from agent.core.turn import Turn

AGENT = ""
"""The service name of news about no service."""


def on_gpus(turn: Turn, seen: GpusSeen) -> None:
    """Remember which cards there are; one that vanished stays, as lost."""
    turn.gpus = seen.gpus
    if seen.gpus.driver.problem:
        return
    for gpu in seen.gpus.gpus:
        turn.put_card(_named(turn.cards.get(gpu.uuid) or Card(gpu.uuid), gpu))
    for card in tuple(turn.cards.values()):
        turn.put_card(_presence(turn, card, seen.gpus))


def _named(card: Card, gpu: Gpu) -> Card:
    return replace(
        card,
        index=gpu.index,
        name=gpu.name or card.name,
        pci_bus_id=gpu.pci_bus_id or card.pci_bus_id,
    )


def _presence(turn: Turn, card: Card, gpus: Gpus) -> Card:
    there = any(gpu.uuid == card.uuid and not gpu.lost for gpu in gpus.gpus)
    if there and card.lost_since:
        lasted = turn.at - card.lost_since
        tell(turn, card, "gpu-back", f"{card.label} ({card.name}) is back after {lasted:.0f} s")
        return replace(card, lost_since=0.0)
    if not there and not card.lost_since:
        tell(turn, card, "gpu-lost", f"{card.label} ({card.name}) is lost: NVML cannot reach it")
        return replace(card, lost_since=turn.at)
    return card


def tell(turn: Turn, card: Card, kind: str, message: str, **data: object) -> None:
    """Add a line about a card to the history."""
    turn.tell(AGENT, kind, message, gpu=card.index, uuid=card.uuid, **data)
