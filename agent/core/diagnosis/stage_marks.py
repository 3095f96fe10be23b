# SPDX-License-Identifier: Apache-2.0
"""Which lines of a log begin and end the stages of a start, and when they were written."""

from __future__ import annotations

from agent.core.diagnosis.lines import seconds_of
from agent.core.diagnosis.signatures import Match, SignatureKind
from agent.core.stages.book import StageBook, StagesSeen
from agent.core.stages.stage import Stage

FORKED_SECONDS = 1.0
"""A spawned process imports vLLM first: 6 s on 2 cores (0.32), and torch alone takes a second on
any processor. A forked one says its configuration at once (0.7 and 0.9 s to the weights, RUN)."""


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


def forked(seen: StagesSeen, process: str) -> str:
    """Return what shows that the engine's process was forked, "" where nothing does.

    `process` is whose line it is; an engine within the server's own process was not forked either.
    Only with times of the journal: vLLM's own stamps have whole seconds.
    """
    took = seen.seconds.get(Stage.ENGINE_CORE)
    its_own = process.startswith("EngineCore")
    if not its_own or seen.now is not Stage.WORKERS or took is None or took >= FORKED_SECONDS:
        return ""
    return f"the engine's process told its configuration {took:.1f} s after the server's"
