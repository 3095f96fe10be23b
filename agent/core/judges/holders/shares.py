# SPDX-License-Identifier: Apache-2.0
"""Who else is on a service's GPUs: our other services by what they ask, strangers by what they use.

gpu_memory_utilization is a share of the whole card and counts for one process alone, so that the
shares of all services on a card must stay below 1 together (vLLM 0.6..0.32).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from agent.core.engine.defaults import default_utilization
from agent.core.gpu.reading import Gpu
from agent.core.judges.turn import Turn
from agent.core.measures import GIB
from agent.core.remedy.utilization import MARGIN_GIB
from agent.core.settings.service import Settings
from agent.core.state.service import ServiceState

NOBODY: Mapping[str, float] = {}
Sharer = tuple[str, Settings, float]


def neighbours_of(turn: Turn, s: ServiceState) -> Mapping[str, float]:
    """Return our other services on its fullest card, each with its gpu_memory_utilization."""
    mine = turn.policy_of(s).settings
    others = tuple(_sharers(turn, s))
    groups = [
        {name: share for name, theirs, share in others if _is_on(turn, theirs, card)}
        for card in _cards(turn, mine, others)
    ]
    return max(groups, key=lambda group: sum(group.values()), default=NOBODY)


def _sharers(turn: Turn, s: ServiceState) -> Iterator[Sharer]:
    """Give the others by what they run with; kv_cache_memory_bytes is no share, so it is left."""
    for other in turn.services.values():
        if other.name == s.name or other.name not in turn.policy.services:
            continue
        theirs = other.learned.unmeasured(turn.effective(other))
        if theirs.kv_cache_memory_bytes is None:
            default = default_utilization(turn.policy.engines[other.name].version)
            share = theirs.gpu_memory_utilization
            yield other.name, theirs, default if share is None else share


def _cards(turn: Turn, mine: Settings, others: tuple[Sharer, ...]) -> frozenset[str]:
    seen = turn.gpus.used_by(mine.gpus) if turn.gpus is not None else ()
    if seen:
        return frozenset(gpu.uuid for gpu in seen)
    if "all" not in mine.gpus:
        return frozenset(mine.gpus)
    return frozenset(card for _, theirs, _ in others for card in theirs.gpus)


def _is_on(turn: Turn, settings: Settings, card: str) -> bool:
    if "all" in settings.gpus or card in settings.gpus or card == "all":
        return True
    seen = turn.gpus.used_by(settings.gpus) if turn.gpus is not None else ()
    return any(gpu.uuid == card for gpu in seen)


def room_of(turn: Turn, s: ServiceState) -> float | None:
    """Return the share of its fullest card that no stranger holds; None where NVML cannot tell."""
    units = _units_accounted_for(turn, s)
    gpus = gpus_of(turn, s)
    rooms = [room for gpu in gpus if (room := _room(gpu, units)) is not None]
    return min(rooms) if gpus and len(rooms) == len(gpus) else None


def _units_accounted_for(turn: Turn, s: ServiceState) -> frozenset[str]:
    """Return the units whose processes are no strangers: its own, and those counted by share."""
    theirs = (unit for _, settings, _ in _sharers(turn, s) for unit in settings.units)
    return turn.policy_of(s).settings.units.union(theirs)


def _room(gpu: Gpu, units: frozenset[str]) -> float | None:
    if gpu.memory is None or gpu.processes is None or gpu.memory_unified or gpu.lost:
        return None
    held = [process.used_bytes for process in gpu.processes if process.unit not in units]
    known = [used for used in held if used is not None]
    if len(known) < len(held):
        return None
    taken = sum(known) + (gpu.memory.reserved_bytes or 0) + MARGIN_GIB * GIB
    return 1 - taken / gpu.memory.total_bytes


def gpus_of(turn: Turn, s: ServiceState) -> tuple[Gpu, ...]:
    """Return the GPUs that the service may use, none where NVML was not heard."""
    return () if turn.gpus is None else turn.gpus.used_by(turn.policy_of(s).settings.gpus)


def in_host_memory(turn: Turn, s: ServiceState) -> bool:
    """Tell whether its GPUs have no memory of their own."""
    return any(gpu.memory_unified for gpu in gpus_of(turn, s))
