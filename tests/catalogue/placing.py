# SPDX-License-Identifier: Apache-2.0
"""Puts the log of a text to the log reader and says how it is placed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from agent.core.diagnosis.reader import LogReader
from agent.core.diagnosis.signatures import SignatureKind, SignatureSet
from agent.core.failures.classes import FailureClass, Outcome
from tests.catalogue.logs import dying_log, exception_of, living_log
from tests.catalogue.stages import ENDS, Stage, stage_of
from tests.catalogue.texts import Text

_SAYS_NOTHING = frozenset(
    {FailureClass.UNKNOWN, FailureClass.ENGINE_DEAD, FailureClass.WORKER_DIED}
)


class By(StrEnum):
    """How a text is placed: by a signature of its own, by its frames, as harmless, or not.

    What only wraps another failure ("Engine core initialization failed") is known by its signature.
    """

    SIGNATURE = "signature"
    FRAMES = "frames"
    HARMLESS = "harmless"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Placed:
    """A text, the class that its log gets, and by what."""

    text: Text
    stage: Stage
    by: By
    failure: FailureClass | None


@dataclass(slots=True)
class Share:
    """How many texts were put to the reader, and how many of them were placed."""

    texts: int = 0
    placed: int = 0
    by: Counter[By] = field(default_factory=Counter)

    @property
    def of_one(self) -> float:
        """The share placed, 0..1."""
        return self.placed / self.texts if self.texts else 1.0


def place(text: Text, release: str, signatures: SignatureSet) -> Placed:
    """Place a text that is thrown: the log of its death is read as a whole."""
    reader = LogReader(signatures)
    for line in dying_log(text, release):
        reader.feed(line)
    failure = reader.diagnosis().failure
    stage = stage_of(text)
    kinds = _kinds(text, signatures)
    if failure is None or failure in _SAYS_NOTHING:
        wraps = SignatureKind.WRAPPER in kinds
        return Placed(text, stage, By.SIGNATURE if wraps else By.NOTHING, failure)
    own = failure in kinds.get(SignatureKind.FAILURE, ())
    return Placed(text, stage, By.SIGNATURE if own else By.FRAMES, failure)


def _kinds(text: Text, signatures: SignatureSet) -> dict[SignatureKind, set[FailureClass | None]]:
    """Return the kinds of signatures that know the text's own words, with their classes."""
    found: dict[SignatureKind, set[FailureClass | None]] = {}
    for line in exception_of(text).split("\n"):
        for match in signatures.find(line):
            found.setdefault(match.signature.kind, set()).add(match.signature.failure)
    return found


def place_logged(text: Text, release: str, signatures: SignatureSet) -> Placed:
    """Place a text that is only logged, by a server that goes on: a failure there is false."""
    reader = LogReader(signatures)
    for line in living_log(text, release):
        reader.feed(line)
    said = reader.diagnosis()
    calm = said.outcome in (Outcome.READY, Outcome.DEGRADED)
    return Placed(text, stage_of(text), By.HARMLESS if calm else By.NOTHING, said.failure)


def can_end(text: Text) -> bool:
    """Tell whether a text can end a start or an engine on an NVIDIA server."""
    return text.ends and stage_of(text) in ENDS


def shares(placed: Iterable[Placed]) -> dict[Stage, Share]:
    """Return the share placed by stage."""
    found: dict[Stage, Share] = {}
    for one in placed:
        share = found.setdefault(one.stage, Share())
        share.texts += 1
        share.placed += one.by is not By.NOTHING
        share.by[one.by] += 1
    return found
