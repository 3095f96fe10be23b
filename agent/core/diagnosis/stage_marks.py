# SPDX-License-Identifier: Apache-2.0
"""Which lines of a log begin and end the stages of a start, and when they were written."""

from __future__ import annotations

from agent.core.diagnosis.lines import seconds_of
from agent.core.diagnosis.signatures import Match, SignatureKind
from agent.core.stages.book import StageBook


def mark(book: StageBook, matches: tuple[Match, ...], at: float | None, stamp: str) -> None:
    """Take what a line says of the stages; without a time of its own its stamp counts, if any."""
    if at is None:
        if not stamp:
            return
        at = float(seconds_of(stamp))
    for match in matches:
        signature = match.signature
        if signature.kind is SignatureKind.READY:
            book.ready(at)
        elif signature.ends is not None or signature.begins is not None:
            book.mark(signature.ends, signature.begins, at)
