# SPDX-License-Identifier: Apache-2.0
"""Whether a run that gives no tokens computes: by its CPU time and by its GPUs.

One step of the engine may take longer than any limit here (a prefill of a million tokens, kernels
that compile at their first use): a processor at work is a reason to wait. It is none to wait for
ever, as a deadlock of NCCL or a kernel that never ends spins, too.
"""

from __future__ import annotations

from enum import StrEnum

from agent.core.engine.runtimes.every import RUNTIMES
from agent.core.judges.alive.start_progress import BUSY_SECONDS
from agent.core.judges.holders.processes import known
from agent.core.judges.turn import Turn
from agent.core.state.service import ServiceState

FRESH_SECONDS = 30.0
"""Older readings say nothing of now; units are read every 5 s, GPUs at least as often."""

BUSY_RATIO = 0.05
"""Of the time in which kernels ran (NVML's utilization): more is work."""


class Activity(StrEnum):
    """What the processors of a run do."""

    NONE = "neither its CPU time moves nor do its GPUs work"
    SOME = "its processors are at work"
    UNKNOWN = "what its processors do is not known"


def activity(turn: Turn, s: ServiceState) -> Activity:
    """Return what is known now of the run's processors."""
    at_work = (_cpu(turn, s), _gpu(turn, s))
    if True in at_work:
        return Activity.SOME
    return Activity.UNKNOWN if None in at_work else Activity.NONE


def _cpu(turn: Turn, s: ServiceState) -> bool | None:
    live = s.live
    runtime = None if s.running is None else RUNTIMES.get(s.running.engine.runtime)
    if runtime is not None and not runtime.in_control_group:
        return None  # what systemd counts is the client's
    if live.cpu_seconds is None or turn.at - live.cpu_at > FRESH_SECONDS:
        return None
    return turn.at - live.busy_at <= BUSY_SECONDS


def _gpu(turn: Turn, s: ServiceState) -> bool | None:
    gpus = turn.gpus
    if gpus is not None and not gpus.driver.present:
        return False
    look = known(gpus)
    if look is None or s.running is None or turn.at - look.at > FRESH_SECONDS:
        return None
    ratios = [card.utilization_ratio for card in look.used_by(s.running.gpus)]
    if any(ratio is not None and ratio > BUSY_RATIO for ratio in ratios):
        return True
    return None if not ratios or None in ratios else False
