# SPDX-License-Identifier: Apache-2.0
"""What is remembered of the fetch of one service's model, and what its program says."""

from __future__ import annotations

from agent.core.hub.cache import CacheFacts
from agent.core.measures import GIB
from agent.core.record import dataclass

MIB = 1 << 20
WORD = "llmagent-fetch"
MOST_BYTES = (1 << 63) - 1
MOST_DIGITS = 19
MOST_PAIRS = 16
LONGEST_PATH = 4096
"""The hub tells the sizes, and anybody may run a hub: HF_ENDPOINT."""
PLANNED = ("total", "missing", "free", "reserve")


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """What the fetch set out to do, in bytes: `missing` of `total`, `free` where it goes."""

    total: int
    missing: int
    free: int
    reserve: int
    directory: str


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """How far it is, in bytes and bytes a second."""

    done: int
    total: int
    speed: float

    @property
    def share(self) -> float:
        """The share 0..1 that is there."""
        return self.done / self.total if self.total else 1.0

    def __str__(self) -> str:
        """Return it for a person, with the time that the rest takes at this speed."""
        unit, name = (GIB, "GiB") if self.total >= GIB else (MIB, "MiB")
        text = f"{self.done / unit:.1f} of {self.total / unit:.1f} {name}"
        if self.speed < 1 or self.done >= self.total:
            return text
        left = (self.total - self.done) / self.speed
        return f"{text}, {self.speed / MIB:.3g} MiB/s, about {_duration(left)} left"


@dataclass(frozen=True, slots=True)
class FetchState:
    """The part that is remembered.

    `model` is what it is of. `action_id` names a start of the fetch that is asked for and not
    confirmed yet, 0 for none; `asked_at` is when it was asked or confirmed. `attempts` counts the
    failures since bytes last came. `satisfied`: the next start need not look for the model.
    `online`: vLLM wanted more than the fetch brings, so it is not started offline any more.
    """

    model: str = ""
    action_id: int = 0
    asked_at: float = 0.0
    attempts: int = 0
    satisfied: bool = False
    online: bool = False


@dataclass(frozen=True, slots=True)
class FetchLive:
    """The part that only this process of the agent knows."""

    looked_at: float = 0.0
    """When the hub's cache was last to be looked at."""

    cache: CacheFacts | None = None
    """What was found in it."""

    plan: FetchPlan | None = None
    progress: FetchProgress | None = None
    began: int | None = None
    """The bytes that the fetch found there when it began."""

    last_output: tuple[int, int] = (0, 0)
    """What the fetch last said: bytes that are there, lines that are no numbers."""

    last_output_at: float = 0.0
    """Since when it says no other."""


def read_line(line: str) -> FetchPlan | FetchProgress | None:
    """Return what a line of the fetch's program tells in numbers, None for any other line."""
    prefix, _, rest = line.partition(" ")
    word, _, rest = rest.partition(" ")
    if prefix != WORD:
        return None
    text, _, directory = rest.partition(" in=")
    pairs = dict(pair.partition("=")[::2] for pair in text.split()[:MOST_PAIRS])
    try:
        if word == "plan":
            total, missing, free, reserve = (_bytes(pairs[name]) for name in PLANNED)
            return FetchPlan(total, missing, free, reserve, directory[:LONGEST_PATH])
        if word == "progress":
            done, total, speed = (_bytes(pairs[name]) for name in ("done", "total", "speed"))
            return FetchProgress(done, total, float(speed))
    except (KeyError, ValueError):
        return None
    return None


def _bytes(text: str) -> int:
    """Return a number of bytes; raises ValueError for one that no disk has."""
    if not text.isascii() or not text.isdecimal() or len(text) > MOST_DIGITS:
        raise ValueError("is no number of bytes")
    number = int(text)
    if number > MOST_BYTES:
        raise ValueError("is more than any disk has")
    return number


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
