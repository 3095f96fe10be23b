# SPDX-License-Identifier: Apache-2.0
"""A driver whose library was upgraded under the loaded module: no new CUDA process can start.

Running ones go on (NVML_ERROR_LIB_RM_VERSION_MISMATCH meets new ones only). So a service that runs
is left alone, one that is down is held until the host was rebooted, or the module was loaded anew.
"""

from __future__ import annotations

from dataclasses import replace

from agent.core.failures.classes import FailureClass
from agent.core.failures.meaning import advice_for_class
from agent.core.gpu.reading import Gpus
from agent.core.judges.holders.processes import known
from agent.core.judges.turn import Turn
from agent.core.state.phases import Phase
from agent.core.state.service import ServiceState


def mismatch(gpus: Gpus | None) -> str:
    """Return why a start must fail, "" when nothing says so."""
    if gpus is None or not gpus.driver.mismatch:
        return ""
    driver = gpus.driver
    return (
        f"the driver's library on disk is {driver.library_version}, the loaded kernel module"
        f" {driver.module_version}: no new process can use the GPUs"
    )


def hold_and_free(turn: Turn) -> None:
    """Hold what is down while no start can succeed, let it go after; restart what waited for it."""
    why = mismatch(turn.gpus)
    for s in tuple(turn.services.values()):
        if s.name in turn.policy.services and not s.foreign:
            turn.put(_judge(turn, s, why))


def _judge(turn: Turn, s: ServiceState, why: str) -> ServiceState:
    unit = s.live.unit
    match s.phase:
        case Phase.WAITING if why and s.asked is None and unit is not None and not unit.running:
            return _hold(turn, s, why)
        case Phase.HELD if why and _failed_of_it(s):
            return replace(s, held_for_driver=True)
        case Phase.HELD if s.held_for_driver and not why and known(turn.gpus) is not None:
            s = turn.enter(s, Phase.WAITING, "start", "start: the driver's parts agree again")
            return replace(s, held_for_driver=False, what_to_do="", retry_at=turn.at)
        case Phase.STARTING | Phase.VERIFYING | Phase.SERVING if s.held_for_driver:
            return replace(s, held_for_driver=False)
        case Phase.STARTING | Phase.VERIFYING | Phase.SERVING if s.restart_wanted and not why:
            s = turn.enter(s, Phase.WAITING, "reload", s.restart_wanted)
            return replace(s, restart_wanted="", retry_at=turn.at, asked=None)
        case _:
            return s


def _failed_of_it(s: ServiceState) -> bool:
    failure = s.failure
    if failure is None or failure.at != s.since:
        return False
    return failure.failure is FailureClass.NVML_MISMATCH


def _hold(turn: Turn, s: ServiceState, why: str) -> ServiceState:
    why = f"held: {FailureClass.NVML_MISMATCH.value}: {why}"
    do = advice_for_class(FailureClass.NVML_MISMATCH)
    turn.tell(s.name, "held", f"{why}. To do: {do}", phase=Phase.HELD.value)
    s = s.enter(Phase.HELD, turn.at, why)
    return replace(s, what_to_do=do, held_for_driver=True)
