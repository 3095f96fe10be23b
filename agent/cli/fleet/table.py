# SPDX-License-Identifier: Apache-2.0
"""Several hosts in one table: first what needs a person, then who does not answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from agent.cli.screen.headline import headline
from agent.cli.screen.terminal import WIDE, cut, paint
from agent.core.record import dataclass
from agent.core.view.needs import needs_a_person
from agent.tasks.fleet.ask_hosts import Told

ORDER = ("wrong", "away", "not yet", "well")
SUMMARY = {
    "wrong": ("needs you", "need you"),
    "away": ("does not answer", "do not answer"),
    "not yet": ("is not serving", "are not serving"),
    "well": ("is well", "are well"),
}
OTHER_FORM = "answers in another form than this llmagent knows"
LONGEST = 2000
"""Characters of a sentence; no screen shows more."""

MOST_LINES = 12
"""Of what is told below a host's line: it is a stranger who says how many there are."""


@dataclass(frozen=True, slots=True)
class Row:
    """A host's line: its word of `ORDER`, its sentence, and what is told below with --verbose."""

    name: str
    word: str
    sentence: str
    more: tuple[str, ...] = ()
    serves: bool = False
    """Whether it has a service, and all that it has serve."""


def row_of(told: Told) -> Row:
    """Return the line of one host, whatever its agent said."""
    if told.status is None:
        return Row(told.host.name, "away", told.error)
    try:
        sentence, word = headline(told.status)
        more = tuple(islice(_more(told.status), MOST_LINES))
        phases = [service["phase"] for service in told.status["services"].values()]
    # The document is of another release, or of somebody who is no agent at all.
    except (
        *(ArithmeticError, AttributeError, LookupError, OSError),
        *(RecursionError, TypeError, ValueError),
    ):
        return Row(told.host.name, "away", OTHER_FORM)
    serves = bool(phases) and all(phase == "serving" for phase in phases)
    return Row(told.host.name, word, sentence[:LONGEST], more, serves)


def _more(status: Mapping[str, Any]) -> Iterator[str]:
    for name, s in status["services"].items():
        line = (
            f"{name} {s['phase']}: {s['reason']}" if s["phase"] != "serving" else f"{name} serves"
        )
        yield line[:LONGEST]
    for need in needs_a_person(status):
        yield f"to do: {need.to_do}"[:LONGEST]
    warmth = [gpu["temperature_celsius"] for gpu in status.get("gpus", ())]
    if known := [celsius for celsius in warmth if isinstance(celsius, int | float)]:
        yield f"{len(warmth)} GPUs, the warmest at {max(known):.0f} °C"


def ordered(rows: Iterable[Row]) -> list[Row]:
    """Return the rows, those first that need a person."""
    return sorted(rows, key=lambda row: (ORDER.index(row.word), row.name))


def summary_of(rows: Sequence[Row]) -> str:
    """Return how many there are of each kind."""
    counts = Counter(row.word for row in rows)
    parts = [f"{n} {SUMMARY[word][n != 1]}" for word in ORDER if (n := counts[word])]
    return f"{len(rows)} host{'' if len(rows) == 1 else 's'}: {', '.join(parts)}"


def fleet_lines(
    rows: Sequence[Row], *, colour: bool, width: int = WIDE, everything: bool = False
) -> Iterator[str]:
    """Yield the summary, then a line a host, cut to `width`."""
    yield cut(summary_of(rows), width)
    widest = min(max(len(row.name) for row in rows), 32)
    for row in ordered(rows):
        name = cut(row.name, widest)
        lead = "no answer: " if row.word == "away" else ""
        sentence = cut(f"{lead}{row.sentence}", max(20, width - widest - 2))
        yield f"{name:<{widest}}  {paint(sentence, row.word, colour=colour)}"
        if everything:
            yield from (cut(f"{'':<{widest}}    {line}", width) for line in row.more)
