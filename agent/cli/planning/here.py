# SPDX-License-Identifier: Apache-2.0
"""What the running agent knows of this host: its cards, their neighbours, and earlier starts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from agent.core.command.given import Given
from agent.core.command.picture import Picture
from agent.core.measures import GIB
from agent.core.planner.asked.capability import Capability, capability_of
from agent.core.planner.verdict import DRIVER_GIB
from agent.core.record import dataclass
from agent.errors import UsageError

SAME_MODEL = frozenset(
    {
        *("max_model_len", "max_num_seqs", "max_num_batched_tokens", "gpu_memory_utilization"),
        *("kv_cache_dtype", "kv_cache_memory_bytes", "enforce_eager", "enable_prefix_caching"),
    }
)
"""Options of vLLM that leave the weights as they are."""

NEIGHBOUR_GIB = 0.5
"""Less than this on a card is no neighbour: a desktop's few windows, a monitor."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A card of this host: `free_gib` where neighbours hold part of it now, else None."""

    usable_gib: float
    name: str
    capability: Capability | None
    free_gib: float | None = None


def read_status(file: Path) -> Mapping[str, Any]:
    """Return what the running agent shows, nothing where there is none."""
    try:
        document = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def smallest_card(status: Mapping[str, Any], service: str | None) -> Seen:
    """Return the smallest card here that the service is given; raises UsageError where none is.

    Without a service the card with the most room of the smallest is taken.
    """
    cards = [card for card in status.get("gpus") or () if card.get("memory")]
    given = [card for card in cards if service in (card.get("services") or ())]
    seen = [_seen(card, service) for card in given or cards]
    if not seen:
        raise UsageError(
            "the agent sees no GPU here: name a card with --gpu NAME, or give its memory with "
            "--gpu-memory-gib"
        )
    least = min(card.usable_gib for card in seen)
    alike = [card for card in seen if card.usable_gib < least + 0.01]
    # A service runs on all that it is given, a model by itself may go where there is room.
    chosen = min if given else max
    return chosen(alike, key=_room)


def _room(card: Seen) -> float:
    return card.usable_gib if card.free_gib is None else card.free_gib


def _seen(card: Mapping[str, Any], service: str | None) -> Seen:
    memory = card["memory"]
    usable = float(memory["total_bytes"] - (memory.get("reserved_bytes") or 0)) / GIB
    return Seen(
        usable,
        str(card["name"] or ""),
        capability_of(str(card.get("compute_capability") or "")),
        _free(card, usable, service),
    )


def _free(card: Mapping[str, Any], usable: float, service: str | None) -> float | None:
    """Return what the processes of others leave of a card, None where that is all or not told."""
    processes = card.get("processes")
    if not processes or card.get("memory_unified"):
        return None
    own = f"{service}.service"
    others = [process for process in processes if process.get("unit") != own]
    held = sum(process.get("used_bytes") or 0 for process in others) / GIB
    return usable - held - DRIVER_GIB if held > NEIGHBOUR_GIB else None


def proven_of(status: Mapping[str, Any], service: str | None) -> Mapping[str, Any] | None:
    """Return what vLLM printed of the service's last good start, None where none is kept."""
    kept = (status.get("services") or {}).get(service) if service is not None else None
    return kept.get("proven") if kept else None


def as_it_served(picture: Picture, proven: Mapping[str, Any]) -> Picture:
    """Return the options of a service as they were at its last good start."""
    kept = {
        name: Given(name, value, name)
        for name, value in (proven.get("settings") or {}).items()
        if name in SAME_MODEL and value is not None
    }
    return replace(picture, options=MappingProxyType({**picture.options, **kept}))


def day(at: object) -> str:
    """Return the day of a Unix time, "" where none was noted."""
    if not isinstance(at, int | float) or at <= 0:
        return ""
    try:
        return datetime.fromtimestamp(at, UTC).date().isoformat()
    except (OverflowError, ValueError, OSError):
        return ""
