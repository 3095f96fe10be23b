# SPDX-License-Identifier: Apache-2.0
"""A starting engine is judged by progress, with a patience of its own for each step.

A step shows progress by lines of its log. While it compiles vLLM may be silent for many minutes
(Dynamo alone 224 s in 0.21 on 2 cores, FlashInfer's and DeepGEMM's kernels longer): there the CPU
time of its processes counts too, but not for ever, as a deadlock may spin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from agent.core.failures.classes import EnginePhase
from agent.core.judges.turn import Turn
from agent.core.settings.recovery import Recovery
from agent.core.state.service import Live, ServiceState
from agent.core.state.unit import UnitFacts

LIMITS: Mapping[EnginePhase, str] = {
    EnginePhase.DOWNLOADING: "download_stall_seconds",
    EnginePhase.LOADING: "load_stall_seconds",
    EnginePhase.PROFILING: "compile_stall_seconds",
    EnginePhase.COMPILING: "compile_stall_seconds",
    EnginePhase.WARMING_UP: "compile_stall_seconds",
    EnginePhase.CAPTURING: "capture_stall_seconds",
}
"""The key of [service.NAME.recovery] for each step; start_stall_seconds for all others."""

COMPILES = frozenset({EnginePhase.PROFILING, EnginePhase.COMPILING, EnginePhase.WARMING_UP})

BUSY_SHARE = 0.5
"""Of one core: what a step must use to count as computing."""

BUSY_SECONDS = 30.0
"""It counts for this long after it was seen."""

BUSY_PATIENCE = 2.0
"""A step that computes may be silent for this many times its limit."""

READING_SECONDS = 1.0
"""Two readings of the CPU time that are closer say nothing."""


def with_cpu_time(live: Live, unit: UnitFacts, at: float) -> Live:
    """Take note of the CPU time that systemd has counted for the run."""
    used, before = unit.cpu_seconds, live.cpu_seconds
    if used is None and before is None:
        return live
    if used is None or before is None or used < before:
        return replace(live, cpu_seconds=used, cpu_at=at)
    passed = at - live.cpu_at
    if passed < READING_SECONDS:
        return live
    busy_at = at if used - before >= BUSY_SHARE * passed else live.busy_at
    return replace(live, cpu_seconds=used, cpu_at=at, busy_at=busy_at)


def stalled(turn: Turn, s: ServiceState) -> str:
    """Return why the start is given up, "" while it may go on."""
    phase = s.live.engine_phase
    patience = limit(turn.policy_of(s).recovery, phase)
    still = turn.at - s.live.activity_at
    computes = phase in COMPILES and turn.at - s.live.busy_at <= BUSY_SECONDS
    if still <= patience * (BUSY_PATIENCE if computes else 1.0):
        return ""
    return f"no progress for {still:.0f} s while {phase.value}" + (
        ", though it computes" if computes else ""
    )


def limit(recovery: Recovery, phase: EnginePhase) -> float:
    """Return how long a start may show no progress in this phase, in seconds."""
    seconds: float = getattr(recovery, LIMITS.get(phase, "start_stall_seconds"))
    return seconds
