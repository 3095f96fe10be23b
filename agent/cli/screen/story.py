# SPDX-License-Identifier: Apache-2.0
"""The history as a person tells it: a failure, its cause and its cure are one entry.

Pure: rows of the history in, entries out. An incident begins when a run of a service ends unasked
(or is killed, or cannot be started) and ends when the service serves, is held or is stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field

from agent.cli.screen.terminal import duration, local
from agent.core.record import dataclass
from agent.core.stages.told import listed
from agent.core.view.kinds import ENDS, OPENS
from agent.host.store.store import Event

CURES = frozenset({"learned", "rolled-back", "probed", "fetch", "port", "reap"})
"""Kinds of rows that tell what was changed on the way back."""

STEPS = frozenset(
    {"start", "started", "ready", "wait", "settled", "remedy", "evidence", "reaped", "adopted"}
)
"""Kinds of rows that are steps of a longer story: told only with --all."""


@dataclass(slots=True)
class Entry:
    """One thing that happened: `lines` are its sentences, the first is what it was."""

    at_seconds: float
    service: str
    lines: list[str] = field(default_factory=list)
    down_seconds: float | None = None
    incident: bool = False


@dataclass(slots=True)
class _Incident:
    began: float
    service: str
    cause: Event
    cures: list[str] = field(default_factory=list)
    starts: int = 0
    away: Mapping[str, float] = field(default_factory=dict)
    """What the daemon itself has added up, by step: from the last sign of life on."""
    stages: str = ""

    def take(self, event: Event) -> None:
        if event.kind == "failure" and self.cause.kind != "failure":
            self.cause = event
        elif event.kind in CURES and event.message not in self.cures:
            self.cures.append(event.message)
        elif event.kind == "back":
            self.away = seconds_of(event.data.get("outage"))
            _, _, self.stages = event.message.partition("; ")
        self.starts += event.kind == "start"

    def entry(self, end: Event | None) -> Entry:
        entry = Entry(self.began, self.service, [self.cause.message, *self.cures], incident=True)
        if end is None:
            entry.lines.append(f"not back yet ({_times(self.starts)})")
            return entry
        entry.down_seconds = sum(self.away.values()) or end.at_seconds - self.began
        without = f"after {duration(entry.down_seconds)} without service"
        if end.kind == "serving":
            how = "; ".join(part for part in (_times(self.starts), listed(self.away)) if part)
            entry.lines.append(f"back at {clock(end.at_seconds)} {without} ({how})")
            entry.lines += [self.stages] if self.stages else []
        else:
            entry.lines.append(f"{end.message} ({clock(end.at_seconds)}, {without})")
        return entry


def story(events: Iterable[Event]) -> Iterator[Entry]:
    """Yield the entries in the order in which they ended; what is not over comes last."""
    under_way: dict[str, _Incident] = {}
    for event in events:
        incident = under_way.get(event.service) if event.service else None
        if incident is not None:
            if event.kind in ENDS:
                yield under_way.pop(event.service).entry(event)
            else:
                incident.take(event)
        elif event.kind in OPENS and event.service:
            under_way[event.service] = _Incident(event.at_seconds, event.service, event)
        elif event.kind not in STEPS:
            yield Entry(event.at_seconds, event.service, [event.message])
    for incident in under_way.values():
        yield incident.entry(None)


def summary(entries: Iterable[Entry]) -> str:
    """Return how often and for how long services were away, in one line."""
    away: dict[str, list[float]] = {}
    for entry in entries:
        if entry.incident:
            away.setdefault(entry.service, []).append(entry.down_seconds or 0.0)
    if not away:
        return "no service was away"
    told = [
        f"{service} was away {_times(len(times), 'time')}, {duration(sum(times))} in all"
        for service, times in away.items()
    ]
    return "; ".join(told)


def seconds_of(data: object) -> Mapping[str, float]:
    """Return a table of seconds as it was recorded; what is none is left out."""
    items = data.items() if isinstance(data, Mapping) else ()
    return {str(k): float(n) for k, n in items if isinstance(n, int | float)}


def clock(seconds: float) -> str:
    """Return the time of day in the local zone."""
    return local(seconds, "%H:%M:%S")


def _times(number: int, word: str = "start") -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
