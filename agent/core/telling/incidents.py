# SPDX-License-Identifier: Apache-2.0
"""One incident is one entry: from a service's death to its serving again, with cause and cure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from agent.core.plain import plain
from agent.core.secrets import without_any_secret, without_quotations
from agent.core.settings.notify import Severity
from agent.core.state.host import News
from agent.core.state.telling.outbox import Entry, Incident, Outbox
from agent.core.telling.kinds import KINDS

MOST_ENTRIES = 40
DRILL = "drill"
LONGEST_TEXT = 300
LONGEST_TO_DO = 400

CURES = frozenset({"learned", "rolled-back", "probed", "fetch", "port", "reap"})


def hear(box: Outbox, line: News, at: float) -> Outbox:
    """Return the outbox after a line of the history."""
    service, kind = line.service, line.kind
    incident = box.incidents.get(service) if service else None
    if kind == "held":
        return _held(_over(box, service), line, at)
    if kind in ("died", "kill", "follow") and service:
        return box if incident is not None else _with(box, service, _opened(line, at))
    if kind == DRILL and line.data.get("kill"):
        return _with(box, service, Incident(at, DRILL))
    if incident is None:
        return _other(box, line, at)
    match kind:
        case "failure":
            cause = f"{line.data.get('class', 'unknown')} while {line.data.get('engine_phase')}"
            cause = f"{DRILL}: {cause}" if incident.cause.startswith(DRILL) else cause
            return _with(box, service, replace(incident, cause=clean(cause)))
        case "start":
            return _with(box, service, replace(incident, starts=incident.starts + 1))
        case "serving":
            return with_entries(_over(box, service), [_back(service, incident, at)])
        case "stopped" | "forgotten":
            return _over(box, service)
        case _ if kind in CURES:
            return _with(box, service, replace(incident, cure=clean(line.message)))
        case _:
            return _other(box, line, at)


def long_ones(box: Outbox, at: float, after_seconds: float) -> Outbox:
    """Return the outbox with what is away for too long told as that, once."""
    for service, incident in box.incidents.items():
        if incident.told or at - incident.since < after_seconds:
            continue
        minutes = (at - incident.since) / 60
        text = f"{service} is not back after {minutes:.0f} min ({incident.cause}), "
        text += f"{_times(incident.starts)} so far"
        entry = Entry(at, Severity.CRITICAL, service, text, f"llmagent why {service}")
        box = with_entries(_with(box, service, replace(incident, told=True)), [entry])
    return box


def clean(text: str, most: int = LONGEST_TEXT) -> str:
    """Return a text that may leave the host: no secret, no quotation, one plain line."""
    told = plain(without_quotations(without_any_secret(text[: 4 * most])))
    return told if len(told) <= most else f"{told[: most - 3]}..."


def with_entries(box: Outbox, entries: list[Entry]) -> Outbox:
    """Return the outbox with more to tell; of what finds no room only the number is kept."""
    told = (*box.entries, *entries)
    kept = sorted(told, key=lambda entry: (-entry.severity.rank, entry.at))[:MOST_ENTRIES]
    night = (*box.night, *entries)[-MOST_ENTRIES:]
    left_out = box.left_out + len(told) - len(kept)
    return replace(
        box,
        entries=tuple(sorted(kept, key=lambda entry: entry.at)),
        left_out=left_out,
        night=night,
    )


def _opened(line: News, at: float) -> Incident:
    # The rest of the sentence may repeat what an engine's front end answered.
    return Incident(at, clean(line.message.partition(":")[0]))


def _held(box: Outbox, line: News, at: float) -> Outbox:
    why, _, to_do = line.message.partition(" To do: ")
    what = f"{line.service} is {clean(why)}"
    entry = Entry(at, Severity.CRITICAL, line.service, what, clean(to_do, LONGEST_TO_DO))
    return with_entries(box, [entry])


def _back(service: str, incident: Incident, at: float) -> Entry:
    away = _minutes(at - incident.since)
    done = f"; {incident.cure}" if incident.cure else ""
    if incident.told:
        text = f"{service} is back after {away} ({_times(incident.starts)}){done}"
        return Entry(at, Severity.WARNING, service, text)
    text = f"{service} was away for {away}: {incident.cause}; started again{done}"
    return Entry(at, Severity.WARNING, service, text)


def _other(box: Outbox, line: News, at: float) -> Outbox:
    kind = KINDS.get(line.kind)
    if kind is None:
        return box
    what, _, to_do = (kind.words or line.message).partition(" To do: ")
    whose = f"{line.service}: " if line.service else ""
    text, to_do = f"{whose}{clean(what)}", clean(to_do, LONGEST_TO_DO)
    if any((entry.text, entry.service) == (text, line.service) for entry in box.entries):
        return box
    # A host that was reset served nobody meanwhile, and nobody asked for it.
    severity = Severity.WARNING if line.data.get("reset") else kind.severity
    return with_entries(box, [Entry(at, severity, line.service, text, to_do)])


def _with(box: Outbox, service: str, incident: Incident) -> Outbox:
    return replace(box, incidents={**box.incidents, service: incident})


def _over(box: Outbox, service: str) -> Outbox:
    rest = {name: known for name, known in box.incidents.items() if name != service}
    return replace(box, incidents=rest)


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _times(number: int) -> str:
    return f"{number} start{'' if number == 1 else 's'}"


def lines_of(entries: tuple[Entry, ...]) -> Iterator[str]:
    """Yield the lines of a message: what is so, and below it what to do."""
    for entry in entries:
        yield entry.text
        if entry.to_do:
            yield f"  to do: {entry.to_do}"
