# SPDX-License-Identifier: Apache-2.0
"""A server that says in its log that it is ready, and whose HTTP side never answered in this run.

A drop-in can give vLLM another address or port, TLS, or have it ask for clients' certificates: then
no request of the agent's says anything of the engine, and none is a proof to kill it by. It counts
as serving, and everybody is told that nothing watches it.
"""

from __future__ import annotations

from dataclasses import replace

from agent.core.judges.alive import hang_detection
from agent.core.judges.turn import Turn
from agent.core.state.phases import Phase
from agent.core.state.service import ServiceState

PATIENCE_SECONDS = 120.0
"""vLLM listens within a second of the line that says so (0.8..0.33)."""

NOBODY = "nobody answers"


def seen(s: ServiceState) -> ServiceState:
    """Note that the HTTP side answers."""
    run = s.invocation_id
    return s if s.reached_run == run else replace(s, reached_run=run)


def is_unreached(s: ServiceState) -> bool:
    """Tell whether the HTTP side, where it has one, has not answered once in this run."""
    if s.running is not None and s.running.headless:
        return False
    return not s.reached_run or s.reached_run != s.invocation_id


def says_ready(turn: Turn, s: ServiceState) -> bool:
    """Tell whether the log has said for long enough that it is ready, and nobody was reached."""
    ready_at = s.live.ready_at
    return bool(ready_at) and is_unreached(s) and turn.at - ready_at >= PATIENCE_SECONDS


def serves(turn: Turn, s: ServiceState) -> ServiceState:
    """Return the service in service; that it is not watched was told."""
    why = f"serving, as its log says; {s.live.unjudged}"
    turn.tell(s.name, "serving", why, phase=Phase.SERVING.value)
    return s.enter(Phase.SERVING, turn.at, why)


def unjudged(turn: Turn, s: ServiceState, detail: str) -> ServiceState:
    """Note that a request which failed says nothing of the engine."""
    why = (
        f"its HTTP side was never reached in this run ({detail or NOBODY}): see in its drop-ins "
        "whether vLLM listens elsewhere, speaks TLS or asks for clients' certificates"
    )
    s = hang_detection.off(turn, s, why)
    return replace(s, live=replace(s.live, canary_misses=0, tokens_at=turn.at, suspect=False))
