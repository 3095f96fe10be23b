# SPDX-License-Identifier: Apache-2.0
"""How far a step of a start has come, as its progress bar tells it."""

from __future__ import annotations

from collections.abc import Iterable

from agent.core.diagnosis.signatures import Match, SignatureKind
from agent.core.record import dataclass

LONGEST_DETAIL = 80


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the step at hand has come: `what` it is, `done` 0..1, `detail` as printed."""

    what: str
    done: float | None = None
    detail: str = ""


def progress_after(before: Progress | None, matches: Iterable[Match]) -> Progress | None:
    """Return the progress behind a line; a phase that begins, or the end of the start, has none."""
    for match in matches:
        if match.signature.kind is SignatureKind.PROGRESS:
            percent = match.captures.get("percent")
            done = None if percent is None else min(int(percent), 100) / 100
            detail = (match.captures.get("detail") or "").strip()[:LONGEST_DETAIL]
            before = Progress(match.signature.what, done, detail)
        elif match.signature.kind in (SignatureKind.PHASE, SignatureKind.READY):
            before = None
    return before
