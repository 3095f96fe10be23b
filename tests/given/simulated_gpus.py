# SPDX-License-Identifier: Apache-2.0
"""GPUs in virtual time beside the simulated host: nvidia-smi sets them, NVML shows them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from agent.core.codec import decode, encode
from agent.core.failures.classes import FailureClass
from agent.core.gpu.reading import ClockEvents, Driver, Gpu, Gpus, PowerLimits
from agent.core.settings.gpus import Power, Thermal
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.actions import (
    Action,
    GpuAction,
    LockClocks,
    SetPersistenceMode,
    SetPowerLimit,
)
from agent.core.state.card import Card
from agent.core.state.observations import GpuActionDone, GpuOutcome, GpusSeen, XidSeen
from agent.core.state.policy import HostPolicy
from tests.given.simulated_host import SimulatedHost

RTX4090 = Gpu(
    index=0,
    uuid="GPU-0",
    name="NVIDIA GeForce RTX 4090",
    pci_bus_id="00000000:01:00.0",
    temperature_celsius=60.0,
    thresholds_celsius={"max_operating": 83.0, "slowdown": 90.0},
    power_watts=300.0,
    power_limits=PowerLimits(450.0, 450.0, 450.0, 150.0, 600.0),
    energy_joules=1000.0,
    clocks_hertz={"sm": 2.6e9},
    clocks_max_hertz={"sm": 2.8e9},
    clock_events=ClockEvents(0),
    clock_event_seconds={"hw_thermal": 0.0, "sw_thermal": 0.0, "hw_power_brake": 0.0},
    utilization_ratio=0.97,
    persistence_mode=True,
    recovery_action=0,
)

GB10 = Gpu(
    index=0,
    uuid="GPU-0",
    name="NVIDIA GB10",
    pci_bus_id="0000000F:01:00.0",
    temperature_celsius=60.0,
    clocks_hertz={"sm": 2.0e9},
    clocks_max_hertz={"sm": 3.0e9},
    clock_events=ClockEvents(0),
    utilization_ratio=0.97,
    persistence_mode=True,
)


@dataclass
class GpuHost(SimulatedHost):
    """A host whose cards are looked at every second; `ends` is how nvidia-smi ends."""

    power: Power = field(default_factory=Power)
    thermal: Thermal = field(default_factory=Thermal)
    gpus: dict[str, Gpu] = field(default_factory=lambda: {"GPU-0": RTX4090})
    driver: Driver = field(default_factory=Driver)
    ends: GpuOutcome = GpuOutcome.DONE
    takes: bool = True
    enforced_at_most: float = 10_000.0
    asked: list[GpuAction] = field(default_factory=list)
    physics: Callable[[float], None] = lambda _seconds: None

    @property
    def policy(self) -> HostPolicy:
        policy = super().policy
        return replace(policy, power=self.power, thermal=self.thermal)

    def agent_starts(self) -> None:
        """Only what was recorded of the cards is left, and nobody has looked at them yet."""
        recorded = json.dumps([encode(c, frozenset({"live"})) for c in self.state.cards.values()])
        cards = [decode(Card, entry) for entry in json.loads(recorded)]
        self.state = replace(self.state, cards={card.uuid: card for card in cards}, gpus=None)
        super().agent_starts()

    def remembered(self, uuid: str = "GPU-0") -> Card:
        return self.state.cards[uuid]

    def see_gpus(self) -> None:
        ordered = tuple(sorted(self.gpus.values(), key=lambda gpu: gpu.index))
        shown = () if self.driver.problem else ordered
        self.observe(GpusSeen(self.now, Gpus(self.now, shown, self.driver)))
        self.carry_out()

    def change(self, uuid: str = "GPU-0", **values: object) -> None:
        self.gpus[uuid] = replace(self.gpus[uuid], **values)  # type: ignore[arg-type]

    def limit(self, watts: float, uuid: str = "GPU-0") -> None:
        limits = self.gpus[uuid].power_limits
        enforced = min(watts, self.enforced_at_most)
        changed = replace(limits, requested_watts=watts, enforced_watts=enforced)
        self.change(uuid, power_limits=changed)

    def requested(self, uuid: str = "GPU-0") -> float | None:
        return self.gpus[uuid].power_limits.requested_watts

    def reload_driver(self) -> None:
        for uuid, gpu in self.gpus.items():
            self.limit(gpu.power_limits.default_watts or 0.0, uuid)
            self.change(uuid, energy_joules=0.0)

    def sees_xid(self, code: int, *, bus: str = "0000:01:00", **more: object) -> None:
        values: dict[str, object] = {"logged_at": self.now, "text": f"NVRM: Xid {code}"} | more
        self.observe(XidSeen(self.now, pci_bus_id=bus, code=code, **values))  # type: ignore[arg-type]
        self.carry_out()

    def dies_of_xid(self, code: int) -> int:
        """Have an error of the driver end the engine; returns by how much its count rose."""
        before = self.remembered().xids[code].count
        self.sees_xid(code)
        self.dies(FailureClass.CUDA_ILLEGAL_MEMORY_ACCESS)
        self.carry_out()
        return self.remembered().xids[code].count - before

    def has_xid(self, code: int, *, bus: str = "0000:01:00", **more: object) -> None:
        """Have the kernel log tell of an error, and NVML too."""
        self.sees_xid(code, bus=bus, **more)
        self.sees_xid(code, bus=bus, from_nvml=True)

    def said(self, kind: str) -> list[str]:
        return [line.message for line in self.history if line.kind == kind]

    def _do(self, action: Action) -> None:
        if not isinstance(action, GpuAction):
            super()._do(action)
            return
        self.asked.append(action)
        if self.ends is GpuOutcome.DONE and self.takes:
            match action:
                case SetPowerLimit():
                    self.limit(action.watts, action.uuid)
                case SetPersistenceMode():
                    self.change(action.uuid, persistence_mode=True)
                case LockClocks():
                    pass
        self.observe(GpuActionDone(self.now, action.uuid, action.action_id, self.ends, "its words"))

    def _engines_move(self, step: float) -> None:
        self.physics(step)
        self.change_energy(step)
        self.see_gpus()
        super()._engines_move(step)

    def change_energy(self, seconds: float) -> None:
        for uuid, gpu in self.gpus.items():
            if gpu.energy_joules is not None and gpu.power_watts is not None:
                self.change(uuid, energy_joules=gpu.energy_joules + seconds * gpu.power_watts)


def gpu_host(
    *gpus: Gpu, power: Power | None = None, thermal: Thermal | None = None, **settings: object
) -> GpuHost:
    """Return a host whose agent has just started with one service."""
    policy = ServicePolicy(Settings("vllm", "/srv/models/llama", **settings))  # type: ignore[arg-type]
    host = GpuHost({"vllm": policy}, power=power or Power(), thermal=thermal or Thermal())
    if gpus:
        host.gpus = {gpu.uuid: gpu for gpu in gpus}
    host.agent_starts()
    host.carry_out()
    return host
