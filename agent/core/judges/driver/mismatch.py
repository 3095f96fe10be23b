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
from agent.core.state.held import Held, HeldBy
from agent.core.state.phases import RUNS, Phase
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


def keeps_off(turn: Turn, s: ServiceState) -> Held | None:
    """Return why no start of what is down can succeed, None when it may.

    What runs is left alone. Where nothing is known of the GPUs, a hold stays as it is.
    """
    why, unit = mismatch(turn.gpus), s.live.unit
    match s.phase:
        case Phase.WAITING if why and unit is not None and not unit.running:
            return _held(why)
        case Phase.HELD if why and (_held_for_it(s) or _failed_of_it(s)):
            return _held(why)
        case Phase.HELD if _held_for_it(s) and known(turn.gpus) is None:
            return s.held
        case _:
            return None


def restart_what_waited(turn: Turn) -> None:
    """Restart what waited with that for a driver whose parts agree, or for other hosts."""
    if mismatch(turn.gpus):
        return
    for s in tuple(turn.services.values()):
        mine = s.name in turn.policy.services and not s.foreign
        if turn.pause_of(s) is not None:
            continue
        if mine and s.restart_wanted and s.phase in RUNS and not other_hosts(turn, s):
            s = turn.enter(s, Phase.WAITING, "reload", s.restart_wanted)
            turn.put(replace(s, restart_wanted="", retry_at=turn.at, asked=None))


def other_hosts(turn: Turn, s: ServiceState) -> str:
    """Return which other host a restart with new settings waits for, "" for none."""
    if s.group is None:
        return ""
    from agent.core.judges.group import likeness  # for who serves with other hosts: memory

    return likeness.waits_for(turn, s)


def _held_for_it(s: ServiceState) -> bool:
    return s.held is not None and s.held.by is HeldBy.DRIVER


def _failed_of_it(s: ServiceState) -> bool:
    failure = s.failure
    if failure is None or failure.at != s.since:
        return False
    return failure.failure is FailureClass.NVML_MISMATCH


def _held(why: str) -> Held:
    why = f"{FailureClass.NVML_MISMATCH.value}: {why}"
    do = advice_for_class(FailureClass.NVML_MISMATCH)
    return Held(HeldBy.DRIVER, why, do, until="the driver's parts agree again")
