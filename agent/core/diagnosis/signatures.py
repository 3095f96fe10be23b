# SPDX-License-Identifier: Apache-2.0
"""Signatures: what a log line can mean, as data, and a quick way to find those of one line.

A signature matches the stable core of a line, never file, line number or prefix. `literal` is a
part that every matching line holds (any of several); the pattern is tried only where it occurs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from agent.core.diagnosis.facts import is_fact
from agent.core.diagnosis.numbers import is_number
from agent.core.diagnosis.placement.places import Places
from agent.core.diagnosis.provenance import Writers
from agent.core.failures.classes import EnginePhase, FailureClass
from agent.core.patterns import compile_pattern
from agent.core.stages.stage import Stage

_WORD = re.compile(r"\w+")


class SignatureKind(StrEnum):
    """What a matching line is in the story of a run.

    FRAME is a traceback line that tells what the engine was doing; NOISE is a line whose alarming
    words mean nothing; CAUGHT marks an error after which the program says that it goes on; REQUEST
    an HTTP access line; STATS the periodic throughput line; BLOCKED a process that waits for
    another; BOOT the journal's mark of a new boot; LEFTOVER what Python cleans up behind
    a process that is gone; START the first lines of a new run; ASKED a stop
    that somebody asked for; STOP what follows any stop; EXIT what systemd says of the end of a
    process.
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
    NOISE = "noise"


class Rank(StrEnum):
    """How near to the root a failure line is; the nearest wins, then the earliest.

    HEADLINE names what was refused and not why; an exception's place tells more.
    """

    ROOT = "root"
    CAUSE = "cause"
    SYMPTOM = "symptom"
    HEADLINE = "headline"
    WRAPPER = "wrapper"


class When(StrEnum):
    """In which part of a run a failure line counts; START also where nothing is known yet."""

    ANY = "any"
    START = "start"
    SERVING = "serving"


@dataclass(frozen=True, slots=True)
class Signature:
    """One entry of the TOML files.

    The class of a failure is `failure`, unless the traceback went through a frame of `by_frame`
    (ids of FRAME signatures) or the engine was in a phase of `by_phase`; without `failure` the line
    counts only with such a frame. `in_container` is the class where vLLM runs as process 1. `when`
    limits it to a part of the run, `rank` says how near to the root it is. `phase` is where the
    engine is from this line on, `what` names the progress. `weak` facts never correct others, nor
    do weak frames. `since` and `until` are the vLLM versions that print it. `advice` is what to do
    about this line where the class says too little, `switches` ("NAME=VALUE" or "--flag VALUE")
    turn off what failed. `fields` are patterns for single facts, tried on the line once the
    signature matched; `values` replaces a captured text by the project's own word; `fixed` are
    facts that the line itself is. `ends` and `begins` are stages of a start.
    """

    id: str
    kind: SignatureKind
    pattern: re.Pattern[str]
    literals: tuple[str, ...]
    failure: FailureClass | None = None
    by_phase: Mapping[EnginePhase, FailureClass] = field(default_factory=dict)
    by_frame: Mapping[str, FailureClass] = field(default_factory=dict)
    in_container: FailureClass | None = None
    rank: Rank = Rank.CAUSE
    when: When = When.ANY
    phase: EnginePhase | None = None
    what: str = ""
    weak: bool = False
    since: str = ""
    until: str = ""
    fields: tuple[tuple[str, re.Pattern[str]], ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)
    ends: Stage | None = None
    begins: Stage | None = None
    advice: str = ""
    switches: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    order: int = 0


@dataclass(frozen=True, slots=True)
class Match:
    """A signature found in a line, with its named captures."""

    signature: Signature
    captures: Mapping[str, str | None]
    start: int
    end: int


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
        self._index = {word: tuple(entries) for word, entries in index.items()}
        self._words = frozenset(self._index)
        self._of_access = tuple(s for s in self.signatures if " HTTP/" in s.pattern.pattern)

    def find(self, text: str) -> tuple[Match, ...]:
        """Return the signatures of a clean line, in the order of the files."""
        words = self._words.intersection(_WORD.findall(text))
        if not words:
            return ()
        candidates: dict[int, Signature] = {}
        for word in words:
            for literal, signature in self._index[word]:
                if literal in text:
                    candidates[signature.order] = signature
        matches = []
        for order in sorted(candidates):
            found = candidates[order].pattern.search(text)
            if found is not None:
                captures = found.groupdict()
                matches.append(Match(candidates[order], captures, found.start(), found.end()))
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


_KEYS = frozenset(
    {"id", "kind", "class", "by_phase", "by_frame", "rank", "when", "phase", "what", "weak"}
    | {"literal", "pattern", "since", "until", "fields", "values", "fixed", "example"}
    | {"advice", "switches", "in_container", "ends", "begins"}
)


def signature_from_table(table: Mapping[str, object], order: int) -> Signature:
    """Build a signature from its TOML table; raises SignatureError naming the entry."""
    name = str(table.get("id", f"entry {order}"))
    try:
        return _build(name, table, order)
    except (KeyError, ValueError, TypeError, AttributeError, re.error) as error:
        raise SignatureError(f"signature {name}: {error}") from error


def _build(name: str, table: Mapping[str, object], order: int) -> Signature:
    unknown = set(table) - _KEYS
    if unknown:
        raise SignatureError(f"unknown keys {sorted(unknown)}")
    literals = _texts(table.get("literal", ()))
    pattern = compile_pattern(str(table.get("pattern") or "|".join(map(re.escape, literals))))
    stray = [g for g in pattern.groupindex if not _known_capture(g)]
    if stray:
        raise SignatureError(f"captures {stray} are neither facts nor numbers")
    failure = table.get("class")
    phase, within = table.get("phase"), table.get("in_container")
    ends, begins = table.get("ends"), table.get("begins")
    return Signature(
        id=name,
        kind=SignatureKind(str(table["kind"])),
        pattern=pattern,
        literals=literals,
        failure=None if failure is None else FailureClass(str(failure)),
        by_phase={
            EnginePhase(k): FailureClass(v) for k, v in _strings(table.get("by_phase")).items()
        },
        by_frame={k: FailureClass(v) for k, v in _strings(table.get("by_frame")).items()},
        in_container=None if within is None else FailureClass(str(within)),
        rank=Rank(str(table.get("rank", "wrapper" if table["kind"] == "wrapper" else "cause"))),
        when=When(str(table.get("when", "any"))),
        phase=None if phase is None else EnginePhase(str(phase)),
        what=str(table.get("what", "")),
        weak=bool(table.get("weak", False)),
        since=str(table.get("since", "")),
        until=str(table.get("until", "")),
        fields=tuple((k, compile_pattern(v)) for k, v in _strings(table.get("fields")).items()),
        values=_strings(table.get("values")),
        fixed=_strings(table.get("fixed")),
        ends=None if ends is None else Stage(str(ends)),
        begins=None if begins is None else Stage(str(begins)),
        advice=str(table.get("advice", "")),
        switches=_texts(table.get("switches", ())),
        examples=_texts(table.get("example", ())),
        order=order,
    )


_OTHER_CAPTURES = frozenset(
    {"version", "percent", "part", "whole", "detail", "status", "method", "path", "running"}
    | {"prompt_rate", "generation_rate", "value", "blocks"}
)


def _known_capture(name: str) -> bool:
    return is_fact(name) or is_number(name) or name in _OTHER_CAPTURES


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple):
        return tuple(str(item) for item in value)
    raise TypeError(f"{value!r} is no text nor list of texts")


def _strings(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r} is no table")
    return {str(key): str(item) for key, item in value.items()}
