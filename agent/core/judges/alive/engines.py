# SPDX-License-Identifier: Apache-2.0
"""Each engine of a data-parallel service is judged by its own pulse and its own requests.

In the sum over all engines one that hangs cannot be seen while the others work; and one that is
given no work is never asked by chance, as the balancer avoids it (RUN 0.32).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from agent.core.engine.metrics import Counters
from agent.core.settings.recovery import Recovery
from agent.core.state.engine_life import EngineLife
from agent.core.state.service import Live


def with_counters(live: Live, seen: Counters, at: float) -> Mapping[str, EngineLife]:
    """Take note of which engines moved since the scrape before."""
    before = live.counters.engines if live.counters is not None else {}
    lives: dict[str, EngineLife] = {}
    for label, engine in seen.engines.items():
        known = live.engines.get(label)
        if known is None:
            lives[label] = EngineLife(moved_at=at)
        elif label not in before or before[label].pulse != engine.pulse:
            lives[label] = replace(known, moved_at=at, misses=0, answered_at=0.0)
        else:
            lives[label] = known
    return MappingProxyType(lives)


def has_work(live: Live, label: str) -> bool:
    """Tell whether requests run or wait at this engine."""
    engine = live.counters.engines.get(label) if live.counters is not None else None
    return engine is not None and engine.running + engine.waiting > 0


def due(live: Live, recovery: Recovery, at: float) -> tuple[str, ...]:
    """Return the engines that have been still for too long to go unasked."""
    return tuple(
        label
        for label, engine in live.engines.items()
        if at - max(engine.moved_at, engine.asked_at)
        >= (
            recovery.hang_seconds
            if engine.misses or has_work(live, label)
            else recovery.canary_every_seconds
        )
    )


def asked(live: Live, labels: tuple[str, ...], at: float) -> Mapping[str, EngineLife]:
    """Take note of which engines are asked now."""
    return MappingProxyType(
        {
            label: replace(engine, asked_at=at, amid_work=has_work(live, label))
            if label in labels
            else engine
            for label, engine in live.engines.items()
        }
    )


def with_answers(
    live: Live, labels: tuple[str, ...], missed: tuple[str, ...], at: float
) -> Mapping[str, EngineLife]:
    """Take note of which of those that were asked did not answer; one that moved is busy."""
    lives = dict(live.engines)
    for label in labels:
        engine = lives.get(label)
        if engine is None:
            continue
        if label not in missed:
            lives[label] = replace(engine, misses=0, answered_at=engine.answered_at or at)
        elif engine.moved_at < engine.asked_at:
            lives[label] = replace(engine, misses=engine.misses + 1)
    return MappingProxyType(lives)


def answered_for(live: Live, recovery: Recovery, at: float) -> str:
    """Return an engine that stands still amid work while others answer its requests, or "".

    Which engine takes a request is chosen by a header that only newer releases know.
    """
    for label, engine in live.engines.items():
        stood = at - max(engine.moved_at, engine.answered_at)
        if engine.answered_at and stood >= recovery.hang_seconds and has_work(live, label):
            return label
    return ""


def has_stuck(live: Live) -> bool:
    """Tell whether an engine has answered a request addressed to it and still did not move."""
    return any(
        engine.answered_at and engine.moved_at < engine.asked_at and has_work(live, label)
        for label, engine in live.engines.items()
    )
