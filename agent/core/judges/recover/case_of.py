# SPDX-License-Identifier: Apache-2.0
"""From what is remembered of a service and seen of the host to the case that remedies judge."""

from __future__ import annotations

from collections.abc import Mapping

from agent.core.diagnosis.numbers import Numbers
from agent.core.diagnosis.reader import Diagnosis
from agent.core.failures.classes import FailureClass
from agent.core.judges.holders.shares import gpus_of, in_host_memory, neighbours_of, room_of
from agent.core.judges.turn import Turn
from agent.core.measures import HOUR_SECONDS
from agent.core.remedy.case import Case
from agent.core.state.phases import Phase
from agent.core.state.service import ServiceState

NO_NUMBERS = Numbers()


def case_of(
    turn: Turn, s: ServiceState, failure: FailureClass, diagnosis: Diagnosis | None
) -> Case:
    """Return the failure of the run that has just ended and is not noted in `s` yet."""
    running = s.running or turn.effective(s)
    good = s.last_good
    return Case(
        failure=failure,
        numbers=diagnosis.numbers if diagnosis is not None else NO_NUMBERS,
        running=running,
        recovery=turn.policy_of(s).recovery,
        bounds=s.learned.bounds,
        spent=s.learned.spent.get(failure, 0),
        repeats=len(faults_with(s, failure, turn.at)[failure]),
        gap_seconds=s.started_at - s.last_down_at if s.last_down_at and s.started_at else None,
        vllm_version=turn.policy.engines[s.name].version,
        gpu_name=next((gpu.name for gpu in gpus_of(turn, s)), ""),
        host_memory=in_host_memory(turn, s)
        or (diagnosis is not None and diagnosis.facts.device == "cpu"),
        neighbours=neighbours_of(turn, s),
        room=room_of(turn, s),
        advice=diagnosis.advice if diagnosis is not None else "",
        switches=diagnosis.switches if diagnosis is not None else (),
        place=diagnosis.place if diagnosis is not None else "",
        again=_came_again(s, failure, diagnosis),
        served=s.died is not None and s.died.phase in (Phase.SERVING, Phase.VERIFYING),
        guessed=diagnosis is not None and diagnosis.guessed,
        beyond_settings=diagnosis is not None and diagnosis.beyond_settings,
        kv_gib_before=good.kv_gib if good is not None and good.settings == running else None,
    )


def _came_again(s: ServiceState, failure: FailureClass, diagnosis: Diagnosis | None) -> bool:
    """Tell whether the start before this one ended with the same exception at the same place.

    A start, not a run that served: what served before may serve again.
    """
    before, died = s.failure, s.died
    return (
        diagnosis is not None
        and diagnosis.place != ""
        and before is not None
        and (before.failure, before.place) == (failure, diagnosis.place)
        and died is not None
        and died.phase is Phase.STARTING
        and s.learned.attempts > 0
    )


def faults_with(
    s: ServiceState, failure: FailureClass, at: float
) -> Mapping[FailureClass, tuple[float, ...]]:
    """Return the failures of the last hour by class, this one included."""
    recent = {
        name: tuple(t for t in times if t > at - HOUR_SECONDS) for name, times in s.faults.items()
    }
    recent[failure] = (*recent.get(failure, ()), at)
    return {name: times for name, times in recent.items() if times}
