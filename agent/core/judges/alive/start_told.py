# SPDX-License-Identifier: Apache-2.0
"""A service that serves again: how long it was away and where the seconds of its start went."""

from __future__ import annotations

from dataclasses import replace

from agent.core.judges.turn import Turn
from agent.core.stages.stage import Stage
from agent.core.stages.told import compared, compiled_again, in_order, listed
from agent.core.state.service import ServiceState

STARTS_KEPT = 5
"""Of the same settings, engine and cards: what is usual is their median."""

REUSE = ("aot_artifact", "compiled_graphs", "kernel_tuning", "weights_from", "startup_plan")
"""Facts that say what a start took from an earlier one. Whether the model's class was looked up in
its own cache is not among them: vLLM says it at DEBUG only (0.32)."""


def with_first_token(s: ServiceState, seconds: float | None) -> ServiceState:
    """Return the service with the first request as the last stage of its start."""
    seen = s.live.stages
    if seconds is None or seen.now is not None or not seen.seconds:
        return s
    whole = replace(seen, seconds={**seen.seconds, Stage.FIRST_TOKEN: seconds})
    return replace(s, live=replace(s.live, stages=whole))


def tell_start(turn: Turn, s: ServiceState) -> ServiceState:
    """Tell the start that has just ended well, and remember it for what is usual."""
    seen, took, outage = s.live.stages, s.start_seconds, s.outage
    if outage is None and (took is None or not seen.seconds):
        return s
    said, before = [_head(turn, s, took or 0.0)], s.learned.start_stage_seconds
    whole = took is not None and seen.now is None and bool(seen.seconds)
    if whole:
        facts = s.live.facts
        said.append(compared(seen.seconds, before))
        if facts is not None:
            parts = (facts.aot_artifact, facts.compiled_graphs, facts.aot_refused or "")
            said += compiled_again(seen.seconds, before, *parts)
    turn.tell(
        s.name,
        "back" if outage is not None else "up",
        "; ".join(part for part in said if part),
        stages=in_order(seen.seconds),
        outage={} if outage is None else dict(outage.step_seconds),
        reused=_reused(s),
    )
    if not whole:
        return replace(s, outage=None)
    kept = (*before, seen.seconds)[-STARTS_KEPT:]
    learned = replace(s.learned, start_stage_seconds=kept)
    return replace(s, outage=None, start_stage_seconds=seen.seconds, learned=learned)


def _reused(s: ServiceState) -> dict[str, str]:
    """Return what vLLM said of each cache, by the fact's name; silence is not there."""
    facts = s.live.facts
    said = {} if facts is None else {name: getattr(facts, name) for name in REUSE}
    return {name: str(value) for name, value in said.items() if value is not None}


def _head(turn: Turn, s: ServiceState, took: float) -> str:
    stages = listed(in_order(s.live.stages.seconds))
    if s.outage is None:
        return f"started in {took:.0f} s" + (f" ({stages})" if stages else "")
    steps = listed(s.outage.step_seconds)
    away = f"back after {turn.at - s.outage.since:.0f} s" + (f" ({steps})" if steps else "")
    return f"{away}; start: {stages}" if stages else away
