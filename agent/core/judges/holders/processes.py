# SPDX-License-Identifier: Apache-2.0
"""Who holds the memory of a service's GPUs, by the last look of NVML.

Without NVML nothing is known, and nothing may depend on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from agent.core.diagnosis.numbers import Numbers
from agent.core.failures.classes import FailureClass
from agent.core.failures.meaning import TABLE
from agent.core.gpu.reading import Gpu, Gpus
from agent.core.judges.turn import Turn
from agent.core.measures import GIB
from agent.core.record import dataclass
from agent.core.settings.service import Settings

WORTH_NAMING_BYTES = 64 * 2**20
"""Less than this starves nobody: a display server, a monitor's CUDA context."""

MOST_NAMED = 3

STARVED = frozenset(name for name, row in TABLE.items() if row.for_want_of_gpu_memory)
"""Failures for want of GPU memory, which others may have taken."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A process with memory on the cards `gpus`, together `used_bytes` where NVML says so."""

    pid: int
    command: str
    unit: str
    used_bytes: int | None
    gpus: tuple[int, ...]

    @property
    def who(self) -> str:
        """Who it is, as in "process 812 (ollama) of ollama.service"."""
        name = f" ({self.command})" if self.command else ""
        return f"process {self.pid}{name}" + (f" of {self.unit}" if self.unit else "")

    @property
    def what(self) -> str:
        """What it has, as in "11.2 GiB of GPU 0"."""
        where = f"GPU {', '.join(str(index) for index in self.gpus)}"
        return f"{self.used_bytes / GIB:.1f} GiB of {where}" if self.used_bytes else where


def known(gpus: Gpus | None) -> Gpus | None:
    """Return the look if NVML worked, else None: then nothing is known of the GPUs."""
    return gpus if gpus is not None and not gpus.driver.problem else None


def holders(gpus: Gpus | None, settings: Settings) -> tuple[Holder, ...]:
    """Return the processes on the service's cards, the greatest first."""
    found: dict[int, Holder] = {}
    look = known(gpus)
    for card in look.used_by(settings.gpus) if look is not None else ():
        for process in card.processes or ():
            before = found.get(process.pid)
            one = Holder(process.pid, process.name, process.unit, process.used_bytes, (card.index,))
            found[process.pid] = one if before is None else _together(before, one)
    return tuple(sorted(found.values(), key=lambda holder: -(holder.used_bytes or 0)))


def _together(one: Holder, other: Holder) -> Holder:
    used = (one.used_bytes or 0) + (other.used_bytes or 0)
    return replace(one, used_bytes=used or None, gpus=(*one.gpus, *other.gpus))


def strangers(gpus: Gpus | None, settings: Settings) -> tuple[Holder, ...]:
    """Return who else has memory on the service's cards that is worth naming."""
    return tuple(
        holder
        for holder in holders(gpus, settings)
        if holder.unit not in settings.units
        and (holder.used_bytes is None or holder.used_bytes >= WORTH_NAMING_BYTES)
    )


def strangers_sentence(gpus: Gpus | None, settings: Settings) -> str:
    """Return who else holds memory of the service's cards, "" when nobody is known to."""
    found = strangers(gpus, settings)
    named = [f"{holder.who} holds {holder.what}" for holder in found[:MOST_NAMED]]
    more = [f"{len(found) - MOST_NAMED} more hold some"] if len(found) > MOST_NAMED else []
    return ", ".join([*named, *more])


def strangers_data(gpus: Gpus | None, settings: Settings) -> list[Mapping[str, object]]:
    """Return the same for the history: pid, command, unit, bytes and the indices of the cards."""
    return [
        {
            "pid": holder.pid,
            "command": holder.command,
            "unit": holder.unit,
            "used_bytes": holder.used_bytes,
            "gpus": list(holder.gpus),
        }
        for holder in strangers(gpus, settings)
    ]


def others_sentence(
    gpus: Gpus | None, settings: Settings, failure: FailureClass, numbers: Numbers
) -> str:
    """Return who else held memory when a start failed for want of it, "" for other failures.

    Without NVML torch may have named one: "Process 812 has 6.02 GiB memory in use".
    """
    if failure not in STARVED:
        return ""
    sentence = strangers_sentence(gpus, settings)
    if sentence or numbers.neighbour_gib is None or known(gpus) is not None:
        return sentence
    who = "another process" if numbers.neighbour_pid is None else f"process {numbers.neighbour_pid}"
    return f"{who} held {numbers.neighbour_gib:.1f} GiB of it, says torch"


def share_a_card(gpus: Gpus | None, one: Settings, other: Settings) -> bool:
    """Tell whether two services may touch one card; an index and a UUID can name the same."""
    if one.shares_gpu_with(other):
        return True
    look = known(gpus)
    return look is not None and not _uuids(look, one).isdisjoint(_uuids(look, other))


def _uuids(gpus: Gpus, settings: Settings) -> frozenset[str]:
    return frozenset(card.uuid for card in gpus.used_by(settings.gpus))


def remember_own_processes(turn: Turn) -> None:
    """Remember the processes of each running unit: a dead one no longer tells its unit."""
    for s in tuple(turn.services.values()):
        unit = s.live.unit
        if unit is None or not unit.running or s.running is None:
            continue
        units = s.running.units
        own = frozenset(h.pid for h in holders(turn.gpus, s.running) if h.unit in units)
        if own and own != s.live.gpu_pids:
            turn.put(replace(s, live=replace(s.live, gpu_pids=own)))


def sample(gpus: Gpus | None, settings: Settings) -> list[Mapping[str, object]]:
    """Return what the last look says of the service's cards, as evidence."""
    look = known(gpus)
    return [_sample_of(card) for card in look.used_by(settings.gpus)] if look is not None else []


def _sample_of(card: Gpu) -> Mapping[str, object]:
    reading: dict[str, object] = {
        "index": card.index,
        "uuid": card.uuid,
        "lost": card.lost,
        "utilization_ratio": card.utilization_ratio,
        "power_watts": card.power_watts,
        "temperature_celsius": card.temperature_celsius,
        "clock_events": card.clock_events.value if card.clock_events is not None else None,
        "used_bytes": card.memory.used_bytes if card.memory is not None else None,
        "processes": [[p.pid, p.name, p.used_bytes] for p in card.processes or ()] or None,
        "problem": card.problem or None,
    }
    return {name: value for name, value in reading.items() if value is not None}
