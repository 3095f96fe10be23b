# SPDX-License-Identifier: Apache-2.0
"""The failure lines of one run: what each means there, and which is nearest to the root."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field, replace

from agent.core.diagnosis.lines import Line, seconds_between
from agent.core.diagnosis.numbers import read_numbers
from agent.core.diagnosis.placement.frames import is_of_a_model, is_of_media
from agent.core.diagnosis.placement.places import Placed
from agent.core.diagnosis.signatures import Match, Rank
from agent.core.diagnosis.tracebacks import Traceback
from agent.core.diagnosis.weights import (
    HANDLED,
    HEADLINE,
    NOTE,
    SYMPTOM,
    WRAPPER,
    weight_of_line,
    weight_of_place,
)
from agent.core.failures.classes import EnginePhase, FailureClass, Group
from agent.core.failures.meaning import group_of
from agent.core.failures.xids import of_xid
from agent.core.record import dataclass

MAX_FINDINGS = 64
"""Different failure lines that are kept of one run; the first of each class."""

ALIVE_AFTER_SECONDS = 20
"""An engine that still makes tokens this long after an error line did not die of it."""

HARDWARE_HEALS_SECONDS = 600
"""Work for so long after a card's own error says that the card is there."""

SHOWN = 1200
"""Characters of a line that evidence shows: of a longer one its beginning and its end."""

FRAME_OF_MEDIA = "frame-multimodal"
_SOFT_LEVELS = frozenset({"DEBUG", "INFO", "WARNING"})
_EXPLAINS_LATER = frozenset({Group.HOST_SOFTWARE})
_SURVIVES_READY = frozenset({Group.HARDWARE})


@dataclass(frozen=True, slots=True)
class FailureLine:
    """A failure line of the log."""

    failure: FailureClass
    weight: float
    """Its place on the scale of weights.py: the lowest is nearest to the root, then the lowest
    `order`."""

    order: int
    line: str
    numbers: Mapping[str, float | int]
    stamp: str
    guessed: bool = False
    """The class hangs on a phase that no line had shown yet."""

    soft: bool = False
    """The line was a mere warning, or the error was caught: the run may have gone on."""

    past: bool = False
    """The run did go on: it may explain what comes later, but is no end."""

    placed: Placed | None = None
    """Where the exception was thrown; None where the line is no exception."""

    by_place: bool = False
    """Nothing but the place gave the class."""

    advice: str = ""
    """The line's own, as are `switches`."""

    switches: tuple[str, ...] = ()
    frames: frozenset[str] = frozenset()
    """Ids of known frames of its traceback."""

    undecided: bool = False
    """Whether the same settings succeed next time hangs on what the line does not tell."""

    in_container: FailureClass | None = None
    """The class where vLLM runs as process 1, which a later line may show; None: the same."""

    @property
    def ends(self) -> bool:
        """Whether this can be what ended the run."""
        return self.weight < NOTE and not self.past


@dataclass(slots=True)
class FailureLines:
    """The first and strongest line of each class, in the order of the log."""

    _found: list[FailureLine] = field(default_factory=list)

    def __iter__(self) -> Iterator[FailureLine]:
        return iter(self._found)

    def __bool__(self) -> bool:
        return bool(self._found)

    @property
    def are_placed(self) -> bool:
        """Whether nothing but the places of exceptions speaks of a failure."""
        return all(f.by_place for f in self._found)

    def add(self, finding: FailureLine) -> None:
        """Keep the finding; a weaker one of a known class only completes its numbers."""
        for index, known in enumerate(self._found):
            if known.failure is finding.failure and known.weight <= finding.weight:
                numbers = {**finding.numbers, **known.numbers}
                self._found[index] = replace(known, numbers=numbers)
                return
        if len(self._found) < MAX_FINDINGS:
            self._found.append(finding)

    def by_weight(self, *, came_up: bool = False) -> list[FailureLine]:
        """Return them with the nearest to the root first.

        What an engine threw that had `came_up` is no refusal of its settings, if only the place
        says so: the settings had served.
        """
        found = [_at_work(f) for f in self._found] if came_up else self._found
        return sorted(found, key=lambda f: (f.weight, f.order))

    def moved_on(self) -> None:
        """Take mere warnings as survived; what they say of host software may matter yet."""
        if any(f.soft and not f.past for f in self._found):
            kept = (f for f in self._found if not f.soft or group_of(f.failure) in _EXPLAINS_LATER)
            self._found = [replace(f, past=f.soft) for f in kept]

    def replaced(self) -> None:
        """Take the last placed exception as one that was handled when the next one came."""
        for index in range(len(self._found) - 1, -1, -1):
            if self._found[index].by_place:
                weight = self._found[index].weight + HANDLED
                self._found[index] = replace(self._found[index], weight=weight)
                return

    def forgiven(self, since: int) -> None:
        """Forget exceptions that led to one which ended nothing, if only their place tells more."""
        self._found = [f for f in self._found if not f.by_place or f.order < since]

    def survived_exceptions(self) -> None:
        """Forget exceptions that only their place explains: the run went on."""
        self._found = [f for f in self._found if not f.by_place]

    def survived_work(self, stamp: str) -> None:
        """Forget what was printed well before a sign of life: nobody died of it."""
        self._found = [
            f
            for f in self._found
            if f.weight >= WRAPPER
            or not _long_enough(f) <= seconds_between(f.stamp, stamp) < float("inf")
        ]

    def outlived(self, failure: FailureClass | None) -> None:
        """Forget what was printed of a class: somebody who sees the engine says that it lives."""
        self._found = [f for f in self._found if f.failure is not failure]

    def survived_start(self) -> None:
        """Forget all that a run that serves has evidently survived."""
        self._found = [f for f in self._found if group_of(f.failure) in _SURVIVES_READY]

    def drop_wrappers(self) -> None:
        """Forget lines that only tell that a process is gone."""
        self._found = [f for f in self._found if f.weight != WRAPPER]

    def warnings_after_the_end(self) -> FailureLines:
        """Return the warnings behind the last hard line: they belong to the next run."""
        hard = max((f.order for f in self._found if not f.soft), default=0)
        return FailureLines([replace(f, order=0) for f in self._found if f.soft and f.order > hard])


def _at_work(finding: FailureLine) -> FailureLine:
    words = finding.placed is not None and finding.placed.worded
    refused = group_of(finding.failure) is Group.CONFIGURATION
    if not finding.by_place or words or not refused:
        return finding
    return replace(finding, failure=FailureClass.ENGINE_BUG, advice="")


def _long_enough(finding: FailureLine) -> int:
    hardware = group_of(finding.failure) in _SURVIVES_READY
    return HARDWARE_HEALS_SECONDS if hardware else ALIVE_AFTER_SECONDS


def finding_of(
    line: Line,
    match: Match,
    order: int,
    trace: Traceback,
    phase: EnginePhase | None,
    *,
    caught: bool = False,
) -> FailureLine | None:
    """Return what a failure line means in this run; `phase` is None when no line has shown it.

    `caught` tells that the program says itself that it goes on after this error.
    """
    signature = match.signature
    failure = _class_of(match, trace, phase)
    if failure is None:
        return None
    code = trace.open and line.text.startswith(" ")
    mild = line.level in _SOFT_LEVELS and signature.rank in (Rank.ROOT, Rank.CAUSE)
    soft = caught or mild
    numbers = read_numbers(match.captures)
    guessed = bool(signature.by_phase) and trace.phase is None and phase is None
    weight = weight_of_line(signature, numbers, soft=soft, in_code=code)
    return FailureLine(
        failure,
        weight,
        order,
        shorten(line.text),
        numbers,
        line.stamp,
        guessed,
        soft,
        past=signature.rank is Rank.HINT,
        advice=signature.advice,
        switches=signature.switches,
        frames=_frames(trace) if signature.by_phase else frozenset(),
        in_container=signature.in_container,
        undecided=signature.undecided,
    )


def _frames(trace: Traceback) -> frozenset[str]:
    """Return the ids of its known frames; the innermost model tells whether media were read."""
    model = next((frame for frame in reversed(trace.path) if is_of_a_model(frame)), "")
    media = {FRAME_OF_MEDIA} if is_of_media(model) else set()
    return frozenset(trace.frames | media)


def place_tells_more(placed: Placed, finding: FailureLine) -> bool:
    """Tell whether an exception's place names its class better than a signature did.

    Of a refusal of pydantic, which stands for any exception, its words do where a rule has them.
    """
    least = SYMPTOM if placed.refusal and placed.by_words else HEADLINE
    return (
        placed.failure is not None
        and least <= finding.weight < WRAPPER
        and weight_of_place(placed) < finding.weight
    )


def finding_by_place(line: Line, thrown: str, placed: Placed, order: int) -> FailureLine:
    """Return an exception that only its place explains; its class may be `unknown`."""
    return FailureLine(
        placed.failure or FailureClass.UNKNOWN,
        weight_of_place(placed),
        order,
        shorten(thrown),
        {},
        line.stamp,
        # what another program says between an engine's lines looks so, and ends nothing
        soft=not (line.process or line.level or placed.frame or placed.refusal),
        placed=placed,
        by_place=True,
        advice=placed.advice,
        switches=placed.switches,
        undecided=placed.unproved,
    )


def shorten(text: str) -> str:
    """Return a line as evidence shows it: the reason may stand at its very end."""
    text = text.strip()
    if len(text) <= SHOWN:
        return text
    return f"{text[: SHOWN // 2 - 2]} ... {text[-SHOWN // 2 + 3 :]}"


def _class_of(match: Match, trace: Traceback, phase: EnginePhase | None) -> FailureClass | None:
    signature = match.signature
    if (xid := match.captures.get("xid")) is not None:
        return of_xid(int(xid))
    for frame, failure in signature.by_frame.items():
        if frame in trace.frames:
            return failure
    at = phase if phase is EnginePhase.SERVING else trace.phase or phase
    return signature.failure if at is None else signature.by_phase.get(at, signature.failure)


def excerpt(text: str, head: int, start: int, end: int) -> str:
    """Return the beginning of a long line, up to `head`, and its part from `start` to `end`."""
    if len(text) <= 300:
        return text
    begin = max(head, start - 2)
    return f"{text[:head].rstrip()} ... {text[begin : end + 1].strip(' ,')} ..."[:SHOWN]
