# SPDX-License-Identifier: Apache-2.0
"""What two looks at the driver differ in, as sentences; and when the agent must begin anew.

NVML's library stays mapped for as long as a process lives: once another driver is loaded, only a
new process can use NVML again.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent.core.gpu.reading import Driver, Gpu, Gpus
from agent.core.judges.driver.mismatch import mismatch
from agent.core.judges.turn import AGENT, Turn
from agent.core.state.actions import Reexecute

KIND = "driver"
TROUBLE = "driver-problem"
NO_DRIVER = Driver()


def on_gpus(turn: Turn, seen: Gpus) -> None:
    """Tell what changed since the last look; `turn` still holds that one and the known cards."""
    before = turn.gpus
    then = before.driver if before is not None else NO_DRIVER
    _problem(turn, before, seen)
    _parts(turn, then, seen)
    if not seen.driver.problem:
        _cards(turn, before, seen)
    if seen.driver.outlived and not then.outlived:
        why = (
            f"driver {seen.driver.module_version} is loaded, llmagent still has the library of"
            f" {seen.driver.mapped_version}: it starts itself anew, the services go on"
        )
        turn.tell(AGENT, KIND, why)
        turn.do(Reexecute(why))


def _problem(turn: Turn, before: Gpus | None, seen: Gpus) -> None:
    now = seen.driver
    then = before.driver.problem if before is not None else ""
    if now.problem and now.problem != then:
        if now.module_version or now.library_version or turn.cards:
            turn.tell(AGENT, TROUBLE, f"NVML does not work: {now.problem}")
    elif not now.problem and (before is None or then):
        again = " again" if before is not None and before.at else ""
        turn.tell(
            AGENT,
            KIND,
            f"NVML works{again}: driver {now.module_version or 'unknown'}, {_listed(seen.gpus)}",
        )


def _parts(turn: Turn, then: Driver, seen: Gpus) -> None:
    now = seen.driver
    if now.mismatch and not then.mismatch:
        turn.tell(
            AGENT,
            TROUBLE,
            f"{mismatch(seen)}; what runs is left alone, the next start would fail:"
            " reboot the host at a time that suits",
        )
    elif then.mismatch and not now.mismatch and now.module_version:
        turn.tell(AGENT, KIND, f"the driver's library and module agree: {now.module_version}")


def _cards(turn: Turn, before: Gpus | None, seen: Gpus) -> None:
    for index in seen.nameless:
        if before is None or index not in before.nameless:
            turn.tell(
                AGENT,
                "gpu-lost",
                f"GPU {index} is lost: NVML counts it and cannot reach it, nor tell its UUID",
                gpu=index,
            )
    if before is None or not before.at or before.driver.problem:
        return
    new = [gpu for gpu in seen.gpus if gpu.uuid not in turn.cards]
    if new:
        turn.tell(AGENT, "gpu-new", f"new: {_listed(new)}; {len(seen.gpus)} GPUs in all")


def _listed(gpus: Sequence[Gpu]) -> str:
    return ", ".join(f"GPU {gpu.index} ({gpu.name})" for gpu in gpus) or "no GPU"
