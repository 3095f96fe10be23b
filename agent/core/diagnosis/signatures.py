# SPDX-License-Identifier: Apache-2.0
"""Signatures: what a log line can mean, as data, and a quick way to find those of one line.

A signature matches the stable core of a line, never file, line number or prefix. `literal` is a
part that every matching line holds (any of several); the pattern is tried only where it occurs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import field
from enum import StrEnum

from agent.core.diagnosis.placement.places import Places
from agent.core.diagnosis.writing.writers import Writers
from agent.core.failures.classes import EnginePhase, FailureClass
from agent.core.record import dataclass
from agent.core.stages.stage import Stage

_WORD = re.compile(r"\w+")
_ANYTHING_FIRST = re.compile(r"\^?(?:\(\?[!=][^()]*\))*(?:\(\?:)?\.")
"""The beginning of a pattern that begins with anything, be it behind what must not follow."""

_GUESSES = re.compile(r"\b(?:[Cc]ommon|[Pp]ossible|[Pp]otential|[Ll]ikely) (?:causes|reasons)\b")
"""Behind it stands what might have been the cause, not what was."""


class SignatureKind(StrEnum):
    """What a matching line is in the story of a run.

    FRAME is a traceback line that tells what the engine was doing; NOISE is a line whose alarming
    words mean nothing; CAUGHT marks an error after which the program says that it goes on; REQUEST
    an HTTP access line; STATS the periodic throughput line; BLOCKED a process that waits for
    another; BOOT the journal's mark of a new boot; LEFTOVER what Python cleans up behind
    a process that is gone, a weak one also behind a program that came to its end; BATCH the
    last answer of a program that asks the engine itself; START the first lines of a new run;
    ASKED a stop that somebody asked for; STOP what follows any stop; EXIT what systemd says of
    the end of a process; OUTLIVED that the run went on after the failure of its class.
    """

    FAILURE = "failure"
    WRAPPER = "wrapper"
    FALLBACK = "fallback"
    PHASE = "phase"
    FACT = "fact"
    PROGRESS = "progress"
    READY = "ready"
    START = "start"
    ASKED = "asked"
    STOP = "stop"
    EXIT = "exit"
    CAUGHT = "caught"
    FRAME = "frame"
    REQUEST = "request"
    STATS = "stats"
    BLOCKED = "blocked"
    BOOT = "boot"
    LEFTOVER = "leftover"
    BATCH = "batch"
    NOISE = "noise"
    OUTLIVED = "outlived"


SIGNS_OF_LIFE = frozenset(
    {SignatureKind.PHASE, SignatureKind.PROGRESS, SignatureKind.READY}
    | {SignatureKind.REQUEST, SignatureKind.STATS, SignatureKind.BATCH}
)
"""Kinds of lines that only a run that goes on prints."""


class Rank(StrEnum):
    """How near to the root a failure line is; the nearest wins, then the earliest.

    HEADLINE names what was refused and not why, SUMMARY which part of it threw; an exception's
    place tells more. PRELUDE is native code's word that it ends, whose reason stands in the next
    line; a HINT is a complaint that most runs survive: it explains a death and is none.
    """

    ROOT = "root"
    CAUSE = "cause"
    SYMPTOM = "symptom"
    PRELUDE = "prelude"
    SUMMARY = "summary"
    HEADLINE = "headline"
    HINT = "hint"
    WRAPPER = "wrapper"


class When(StrEnum):
    """In which part of a run a failure line counts; START also where nothing is known yet."""

    ANY = "any"
    START = "start"
    SERVING = "serving"


@dataclass(frozen=True, slots=True)
class Signature:
    """One entry of the TOML files; a key there has the field's name but for the three named."""

    id: str
    kind: SignatureKind
    pattern: re.Pattern[str]
    """What the line must hold; named groups are facts and numbers."""
    literals: tuple[str, ...]
    """Key `literal`: parts of which a matching line has one, so that few lines are searched."""
    failure: FailureClass | None = None
    """Key `class`: what failed, unless `by_frame` or `by_phase` says otherwise; None: the line
    counts only with a frame of `by_frame`."""
    by_phase: Mapping[EnginePhase, FailureClass] = field(default_factory=dict)
    """The class where the engine was in this phase."""
    by_frame: Mapping[str, FailureClass] = field(default_factory=dict)
    """The class where the traceback went through this FRAME (by id); before `by_phase`."""
    in_container: FailureClass | None = None
    """The class where vLLM runs as process 1; None: the same."""
    rank: Rank = Rank.CAUSE
    """How near to the root the line is."""
    when: When = When.ANY
    """The part of a run in which the line counts."""
    phase: EnginePhase | None = None
    """Where the engine is from this line on; `what` names what a progress bar counts there."""
    what: str = ""
    weak: bool = False
    """A fact that never corrects another; a frame that is no proof by itself."""
    undecided: bool = False
    """A failure of which the line does not tell whether a new start meets it again."""
    unasked: bool = False
    """A failure that shows that nobody asked for the stop under way."""
    since: str = ""
    """The first vLLM release that prints it; "" if unknown, as is `until`."""
    until: str = ""
    """The last one."""
    fields: tuple[tuple[str, re.Pattern[str]], ...] = ()
    """Patterns for single facts, tried on the line once the signature matched."""
    values: Mapping[str, str] = field(default_factory=dict)
    """The project's own word for a captured text."""
    fixed: Mapping[str, str] = field(default_factory=dict)
    """Facts that the line itself is, whatever it captures."""
    ends: Stage | None = None
    """The stage of a start that is over with this line."""
    begins: Stage | None = None
    """The stage that begins with it."""
    advice: str = ""
    """What to do about this line, where the class says too little."""
    switches: tuple[str, ...] = ()
    """What turns off what failed: "NAME=VALUE" of the environment or "--flag VALUE"."""
    examples: tuple[str, ...] = ()
    """Key `example`: real lines that match."""
    order: int = 0
    """Place in the files: the first of two that match counts first."""


@dataclass(frozen=True, slots=True)
class Match:
    """A signature found in a line, with its named captures."""

    signature: Signature
    captures: Mapping[str, str | None]
    start: int
    end: int

    @property
    def is_frame(self) -> bool:
        """Whether it is a line of a traceback that tells what the engine was doing."""
        return self.signature.kind is SignatureKind.FRAME

    def begins_a_run(self, *, gone: bool) -> bool:
        """Tell whether a run begins here; what a start says first begins one behind a death."""
        first = self.signature.ends is Stage.IMPORTS
        return self.signature.kind is SignatureKind.START or (gone and first)

    def before(self, text: str) -> str:
        """Return what stands before its words, where its pattern begins with anything."""
        if _ANYTHING_FIRST.match(self.signature.pattern.pattern) is None:
            return text[: self.start]
        return self.head(text)

    def head(self, text: str) -> str:
        """Return what stands before the first of its literals, which may be within its words."""
        places = (text.find(literal, self.start) for literal in self.signature.literals)
        return text[: min((place for place in places if place >= 0), default=self.start)]


class SignatureError(ValueError):
    """Tells which signature cannot be used and why."""


class SignatureSet:
    """All signatures, indexed by a rare word of each literal so that most lines cost one set test.

    `versions` maps line numbers of vLLM's core.py to the release that logs from there; `places`
    tell what no signature names.
    """

    def __init__(
        self,
        signatures: Iterable[Signature],
        versions: Mapping[int, str] | None = None,
        places: Places | None = None,
        writers: Writers | None = None,
    ) -> None:
        self.signatures = tuple(signatures)
        self.places = places or Places()
        self.writers = writers
        self.versions = dict(versions or {})
        index: dict[str, list[tuple[str, Signature]]] = {}
        for signature in self.signatures:
            for literal in signature.literals:
                index.setdefault(_anchor(literal), []).append((literal, signature))
        self.index = {word: tuple(entries) for word, entries in index.items()}
        """Literals and their signatures, by the word of the literal that a line must have."""
        self._words = frozenset(self.index)
        self._of_access = tuple(s for s in self.signatures if " HTTP/" in s.pattern.pattern)

    def find(self, text: str) -> tuple[Match, ...]:
        """Return the signatures of a clean line, in the order of the files."""
        words = self._words.intersection(_WORD.findall(text))
        if not words:
            return ()
        candidates: dict[int, Signature] = {}
        for word in words:
            for literal, signature in self.index[word]:
                if literal in text:
                    candidates[signature.order] = signature
        matches = []
        for order in sorted(candidates):
            found = candidates[order].pattern.search(text)
            if found is not None:
                captures = found.groupdict()
                matches.append(Match(candidates[order], captures, found.start(), found.end()))
        if matches and (guesses := _GUESSES.search(text)) is not None:
            matches = [match for match in matches if match.start < guesses.start()]
        return tuple(matches)

    def find_in_access_line(self, text: str) -> tuple[Match, ...]:
        """Return the signatures that are the form of a whole access line: its words are anybody's.

        They begin where the line does and go on behind the path.
        """
        found = ((s, s.pattern.match(text)) for s in self._of_access)
        return tuple(Match(s, m.groupdict(), 0, m.end()) for s, m in found if m is not None)


_COMMON = frozenset(
    {"vllm", "model", "engine", "shutdown", "backend", "found", "failed", "worker", "process"}
    | {"server", "version", "function", "runtime", "expected", "config", "weights", "cache"}
    | {"error", "Error", "available", "memory", "supported", "attention", "torch", "request"}
)
_COMMON_COSTS = 6
_EDGE_COSTS = 1


def _anchor(literal: str) -> str:
    """Choose the word of a literal to index it by: a long and rare one, not at its edge.

    A word at the edge is trusted to be whole: a literal must not begin or end within a word, unless
    it has a longer one inside.
    """
    words = list(_WORD.finditer(literal))
    if not words:
        raise SignatureError(f"the literal {literal!r} has no word in it")
    return max(words, key=lambda word: _rarity(word, literal)).group()


def _rarity(word: re.Match[str], literal: str) -> int:
    edge = word.start() == 0 or word.end() == len(literal)
    common = word.group() in _COMMON
    length = min(word.end() - word.start(), 10)
    return length - (_COMMON_COSTS if common else 0) - (_EDGE_COSTS if edge else 0)
