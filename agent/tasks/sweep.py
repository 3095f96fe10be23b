# SPDX-License-Identifier: Apache-2.0
"""Tries settings one after the other on the service's own unit and measures each.

The agent is stopped meanwhile: a trial that fails is a result, not a failure to recover from.
Whatever happens, the service is started again with the settings that it had.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

from agent.core.bench.measure import Load
from agent.core.bench.sweep import Trial, TrialOutcome
from agent.core.record import dataclass
from agent.core.settings.service import Settings
from agent.core.unit.text import exec_start
from agent.host.machine.container_user import container_user
from agent.host.systemd import SystemdBus
from agent.host.systemd.trial_unit import TrialUnit
from agent.host.vllm.api import HealthStatus
from agent.host.vllm.reach import client_of
from agent.tasks import bench

LOOK_SECONDS = 1.0
REQUESTS_A_BATCH = 2


@dataclass(frozen=True, slots=True)
class Sweep:
    """What is swept: `settings` as they run now, `start_seconds` the most that a start may take."""

    settings: Settings
    target: bench.Target
    output_tokens: int
    start_seconds: float


def run(sweep: Sweep, trials: Sequence[Trial], progress: bench.Progress) -> list[TrialOutcome]:
    """Return an outcome for each trial; needs root, and takes the service away meanwhile."""
    with contextlib.closing(SystemdBus()) as bus, TrialUnit(sweep.settings.unit, bus) as unit:
        outcomes = []
        for number, trial in enumerate(trials, 1):
            progress(f"{number}/{len(trials)}: {trial.setting} = {trial.value}")
            outcomes.append(_try(sweep, trial, unit, progress))
        return outcomes


def _try(sweep: Sweep, trial: Trial, unit: TrialUnit, progress: bench.Progress) -> TrialOutcome:
    settings = trial.of(sweep.settings)
    user, _ = container_user(settings)
    if not unit.start(exec_start(settings, sweep.target.engine, user)):
        return _failed(trial, "systemd could not start it", progress)
    if (why := _not_ready(sweep, unit)) is not None:
        return _failed(trial, why, progress)
    load = Load(
        batch=trial.batch,
        input_tokens=bench.DECODE_INPUT_TOKENS,
        output_tokens=sweep.output_tokens,
        requests=trial.batch * REQUESTS_A_BATCH,
    )
    (point,) = bench.run(sweep.target, [load], lambda _what: None)
    progress(f"    {point.output_tokens_per_second:.1f} tokens/s")
    return TrialOutcome(trial, point)


def _failed(trial: Trial, why: str, progress: bench.Progress) -> TrialOutcome:
    progress(f"    {why}")
    return TrialOutcome(trial, None, why)


def _not_ready(sweep: Sweep, unit: TrialUnit) -> str | None:
    api = client_of(sweep.settings)
    end = time.monotonic() + sweep.start_seconds
    while time.monotonic() < end:
        if not unit.runs():
            return "it did not start: see journalctl -u " + sweep.settings.unit
        if api.health() is HealthStatus.HEALTHY:
            return None
        time.sleep(LOOK_SECONDS)
    return f"not ready after {sweep.start_seconds:.0f} s"
