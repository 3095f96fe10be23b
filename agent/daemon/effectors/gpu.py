# SPDX-License-Identifier: Apache-2.0
"""Changes settings of GPUs as decided; what came of it shows in the next look at them."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from agent.core.state.actions import GpuAction, LockClocks, SetPersistenceMode, SetPowerLimit
from agent.core.state.observations import GpuActionDone, GpuOutcome, Observation
from agent.daemon.clock import Clock
from agent.host.nvidia import smi as nvidia_smi
from agent.host.nvidia.smi import SmiEnd

OUTCOMES = {
    SmiEnd.DONE: GpuOutcome.DONE,
    SmiEnd.NOT_SUPPORTED: GpuOutcome.NOT_SUPPORTED,
    SmiEnd.NOT_PERMITTED: GpuOutcome.NOT_PERMITTED,
    SmiEnd.NO_TOOL: GpuOutcome.NO_TOOL,
    SmiEnd.FAILED: GpuOutcome.FAILED,
}


class GpuEffector:
    """Serves one lane for all GPUs: the driver would do their changes one by one anyway."""

    def __init__(self, changed: Callable[[], None], clock: Clock) -> None:
        """`changed` has the GPUs looked at soon."""
        self._changed = changed
        self._clock = clock

    def carry_out(self, action: GpuAction) -> Observation:
        """Run nvidia-smi and return how it ended."""
        result = nvidia_smi.run(
            nvidia_smi.find_nvidia_smi(), _options(action), nvidia_smi.launcher()
        )
        self._changed()
        outcome = OUTCOMES[result.end]
        return GpuActionDone(self._clock(), action.uuid, action.action_id, outcome, result.said)

    def failed(self, action: GpuAction, detail: str) -> Observation:
        """Return what to tell when `carry_out` raised."""
        failed = GpuOutcome.FAILED
        return GpuActionDone(self._clock(), action.uuid, action.action_id, failed, detail)


def _options(action: GpuAction) -> tuple[str, ...]:
    match action:
        case SetPowerLimit():
            return nvidia_smi.set_power_limit(action.uuid, action.watts)
        case LockClocks(mhz=None):
            return nvidia_smi.unlock_clocks(action.uuid)
        case LockClocks(mhz=(low, *_, high)):
            return nvidia_smi.lock_clocks(action.uuid, low, high)
        case LockClocks():
            return nvidia_smi.unlock_clocks(action.uuid)
        case SetPersistenceMode():
            return nvidia_smi.persistence_mode_on(action.uuid)
        case _:
            assert_never(action)
