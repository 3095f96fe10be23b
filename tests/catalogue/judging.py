# SPDX-License-Identifier: Apache-2.0
"""How right the log reader is on texts whose class a person said before it was asked.

The files held-out-*.tsv hold texts that were new in vLLM 0.32 and 0.33 (the fourth
and later ones: of all releases, each with its own), labelled blind, each with the classes that are
right for it. The reader's rules were frozen before each was labelled; what was right at first sight
is written in its first line. Rules were mended since, so the figure that is measured today is no
longer one of unseen texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from agent.core.diagnosis.placement.places import Places
from agent.core.diagnosis.reader import Diagnosis, LogReader
from agent.core.diagnosis.signatures import SignatureKind, SignatureSet
from agent.core.failures.classes import FailureClass, Group
from agent.core.failures.meaning import advice_for_class, group_of, transient
from tests.catalogue.corpus import CORPUS
from tests.catalogue.eras import filled
from tests.catalogue.logs import dying_log
from tests.catalogue.texts import Text
from tests.given.engine_logs import DEATH_AT_START, STARTING, failed
from tests.given.engine_words import WORDS

DRAWN = ("fourth", "fifth", "sixth", "seventh", "eighth")
"""Files of texts of all releases, each text with the first release that has it."""

LABELLED = ("first", "second", "third", *DRAWN, "models", "starts")
"""All files of labelled texts; the last two are a part of all that there are of their stages."""

_OF_VLLM = ("vllm/", "csrc/")

_NAIVE = re.compile("error|exception", re.IGNORECASE)
_ACTS = frozenset({Group.MEMORY, Group.HARDWARE, Group.FILES})
"""Groups whose remedy changes memory settings, resets the GPU or fetches files again."""


@dataclass(frozen=True, slots=True)
class Case:
    """A log, the words of its cause, and the classes that are right for it."""

    log: tuple[str, ...]
    cause: str
    right: frozenset[FailureClass]


@dataclass(slots=True)
class Score:
    """What came of the cases; `first` and `last` are the hits of grep that name the cause.

    `group`: the class, or another one of its group.
    """

    cases: int = 0
    right: int = 0
    group: int = 0
    helpful: int = 0
    dangerous: int = 0
    named: int = 0
    first: int = 0
    last: int = 0


def own_cases() -> Iterator[Case]:
    """Give the project's own corpus: each class in its own words, within the death of a start."""
    for failure, lines in WORDS.items():
        for line in lines:
            log = f"{STARTING}{failed(line)}{DEATH_AT_START}".strip("\n").split("\n")
            yield Case(tuple(log), line, frozenset({failure}))


def held_out(name: str) -> tuple[str, list[Case]]:
    """Return the first line of a file of labelled texts, and its cases."""
    lines = (CORPUS / f"held-out-{name}.tsv").read_text(encoding="utf-8").split("\n")[:-1]
    return lines[0].removeprefix("# "), [_case(line) for line in lines[1:]]


def reviewed() -> Iterator[Case]:
    """Give the texts of the files reviewed-*.tsv: a person read all that there are of their stages.

    The class of each had been wrong, and a rule was made or mended for its kind.
    """
    for path in sorted(CORPUS.glob("reviewed-*.tsv")):
        yield from map(_case, path.read_text(encoding="utf-8").split("\n")[1:-1])


def new_in(release: str) -> list[Case]:
    """Return the labelled texts of vLLM that no release before this one, as "0.30", had."""
    rows = (
        line.split("\t")
        for name in DRAWN
        for line in (CORPUS / f"held-out-{name}.tsv").read_text(encoding="utf-8").split("\n")[1:-1]
    )
    its_own = (r for r in rows if r[-1].startswith(f"{release}.") and r[0].startswith(_OF_VLLM))
    return [_case("\t".join(row)) for row in its_own]


def _case(line: str) -> Case:
    module, function, kind, name, template, mark, right, *release = line.split("\t")
    text = Text(module, function, kind, name, template.replace("⏎", "\n"), mark == "abstract")
    log = tuple(dying_log(text, release[0] if release else "0.33.0"))
    cause = filled(text.template).split("\n")[0]
    return Case(log, cause, frozenset(map(FailureClass, right.split())))


def score(cases: Iterable[Case], signatures: SignatureSet) -> Score:
    """Put every case to the reader and to grep.

    Helpful: the class is right, the first line of evidence holds the cause, and there is something
    to do. Dangerous: the class is wrong, and its remedy changes memory, hardware or files that are
    not at fault, or starts again for ever what no new start cures, or holds what one would cure.
    """
    total = Score()
    for case in cases:
        reader = LogReader(signatures)
        for line in case.log:
            reader.feed(line)
        said = reader.diagnosis()
        _add(total, case, said)
    return total


def _add(total: Score, case: Case, said: Diagnosis) -> None:
    start = case.cause[:40]
    named = bool(said.evidence) and start in said.evidence[0]
    right = said.failure in case.right
    hits = [line for line in case.log if _NAIVE.search(line)]
    total.cases += 1
    total.right += right
    told = None if said.failure is None else group_of(said.failure)
    total.group += any(group_of(failure) is told for failure in case.right)
    total.named += named
    total.first += bool(hits) and start in hits[0]
    total.last += bool(hits) and start in hits[-1]
    if right and said.failure is not None:
        total.helpful += named and bool(said.advice or advice_for_class(said.failure))
    elif said.failure is not None:
        total.dangerous += harms(said, case.right)


def harms(said: Diagnosis, right: frozenset[FailureClass]) -> bool:
    """Tell whether a diagnosis of another class does harm, in the sense of `score`."""
    failure = said.failure or FailureClass.UNKNOWN
    if group_of(failure) in _ACTS and all(group_of(r) is not group_of(failure) for r in right):
        return True
    if failure is FailureClass.UNKNOWN or said.guessed:
        return False
    passes = transient(failure)
    return passes is not None and {transient(r) for r in right} == {not passes}


def without_release(signatures: SignatureSet, release: str) -> SignatureSet:
    """Return the set without the signatures that a release, or a later one, was the first for."""
    edge = _key(release)
    kept = (s for s in signatures.signatures if not s.since or _key(s.since) < edge)
    return SignatureSet(kept, signatures.versions, signatures.places)


def frames_alone(signatures: SignatureSet) -> SignatureSet:
    """Return the set without any failure signature: what is left is placed by frames and words."""
    kept = (s for s in signatures.signatures if s.kind is not SignatureKind.FAILURE)
    return SignatureSet(kept, signatures.versions, signatures.places)


def frames_without_words(signatures: SignatureSet) -> SignatureSet:
    """Return the set in which frames and names of exceptions alone decide: no text is known.

    That is how it stands to a release whose texts it was never tuned with.
    """
    rules = (rule for rule in signatures.places.rules if rule.words is None)
    kept = frames_alone(signatures).signatures
    return SignatureSet(kept, signatures.versions, Places(rules), signatures.writers)


def _key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])
