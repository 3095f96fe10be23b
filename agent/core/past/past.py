# SPDX-License-Identifier: Apache-2.0
"""The last hours of the host, for the plots of the status page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

from agent.core.gpu.reading import Gpu, Gpus
from agent.core.past.columns import OF_A_GPU, OF_A_SERVICE
from agent.core.past.track import STEP_SECONDS, STEPS, Column, Track
from agent.core.state.host import HostState
from agent.core.state.service import ServiceState

FORMAT = 1
LOOK_SECONDS = 10.0
"""How often the state is looked at: six times a step, so that a short queue is seen."""
STALE_SECONDS = 15.0
"""Three times the longest rest between two looks at the GPUs."""
MOST = 32
"""So many services and so many GPUs have a track, 17 kB each: 1.1 MB at the very most."""

T = TypeVar("T")


class Past:
    """`take` belongs to the deciding thread; `document` may be called from any.

    A ring is read while it may be written: at worst the newest step is seen half done.
    """

    def __init__(self) -> None:
        self._due = 0.0
        self.first = self.step = 0
        self.services: dict[str, Track[ServiceState]] = {}
        self.gpus: dict[str, Track[Gpu]] = {}
        self.indices: dict[str, int] = {}

    def take(self, state: HostState, at: float) -> None:
        """Take the state's numbers, if it is time for it."""
        if at < self._due:
            return
        self._due = at + LOOK_SECONDS
        self.step = max(self.step, int(at // STEP_SECONDS))
        if not self.first:
            self.first = self.step
        _take(self.services, OF_A_SERVICE, state.services, at, self.step)
        gpus = _read_now(state.gpus, at)
        self.indices |= {uuid: gpu.index for uuid, gpu in gpus.items()}
        looked_at = at if state.gpus is None else state.gpus.at
        _take(self.gpus, OF_A_GPU, gpus, looked_at, self.step, stay=state.cards)

    def document(self, since_seconds: float, ahead_seconds: float) -> dict[str, Any]:
        """Return the steps from that of this wall-clock time on, at most all, oldest first.

        {"format", "step_seconds", "first_seconds": when the first step began, "steps", "services":
        {name: {column: [value or null]}}, "gpus": {uuid: {"index", column: [...]}}}. The step under
        way is among them. `ahead_seconds`: what the wall clock is ahead of agent time.
        """
        last = self.step
        asked = int((since_seconds - ahead_seconds) // STEP_SECONDS)
        first = min(max(asked, self.first, last - STEPS + 1), last)
        return {
            "format": FORMAT,
            "step_seconds": STEP_SECONDS,
            "first_seconds": round(first * STEP_SECONDS + ahead_seconds, 3),
            "steps": last - first + 1,
            "services": {
                name: dict(track.values(first, last))
                for name, track in _sorted(self.services.items())
            },
            "gpus": {
                uuid: {"index": self.indices[uuid], **dict(track.values(first, last))}
                for uuid, track in _sorted(self.gpus.items())
            },
        }


def _read_now(gpus: Gpus | None, at: float) -> Mapping[str, Gpu]:
    """Return the cards that NVML reads; the others keep their past and have nothing new."""
    if gpus is None or gpus.driver.problem or at - gpus.at > STALE_SECONDS:
        return {}
    return {gpu.uuid: gpu for gpu in gpus.gpus if not gpu.lost}


def _sorted(items: Iterable[tuple[str, T]]) -> list[tuple[str, T]]:
    return sorted(items, key=lambda item: item[0])


def _take(
    tracks: dict[str, Track[T]],
    columns: Sequence[Column[T]],
    things: Mapping[str, T],
    at: float,
    step: int,
    stay: Iterable[str] = (),
) -> None:
    for name in tracks.keys() - things.keys() - set(stay):
        del tracks[name]
    for name, thing in islice(things.items(), MOST):
        if name not in tracks:
            tracks[name] = Track(columns, step)
        tracks[name].take(thing, at, step)
    for track in tracks.values():
        track.advance(step)
