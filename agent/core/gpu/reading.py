# SPDX-License-Identifier: Apache-2.0
"""What NVML says of the host's GPUs at one moment, in base units and NVML's own words.

None, and a name that is missing from a mapping, means that the card or its driver does not give
the value: such a value is left out everywhere, never shown as zero. Names of clock event reasons
and their bits: nvml.h 13.5; thresholds: NVML_TEMPERATURE_THRESHOLD_*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import IntFlag

from agent.core.record import dataclass


class ClockEvents(IntFlag):
    """Why the clocks are not as high as they could be: nvmlClocksEventReasons, bit by bit."""

    GPU_IDLE = 0x1
    APPLICATIONS_CLOCKS_SETTING = 0x2
    SW_POWER_CAP = 0x4
    HW_SLOWDOWN = 0x8
    SYNC_BOOST = 0x10
    SW_THERMAL_SLOWDOWN = 0x20
    HW_THERMAL_SLOWDOWN = 0x40
    HW_POWER_BRAKE_SLOWDOWN = 0x80
    DISPLAY_CLOCK_SETTING = 0x100
    BOARD_LIMIT = 0x200
    RELIABILITY = 0x400


@dataclass(frozen=True, slots=True)
class PowerLimits:
    """Limits of a card's power draw, in watts.

    `requested` is what `nvidia-smi -pl` set last; `enforced` is the lowest of all that limit it
    (VBIOS, nvidia-smi, a BMC).
    """

    requested_watts: float | None = None
    enforced_watts: float | None = None
    default_watts: float | None = None
    min_watts: float | None = None
    max_watts: float | None = None


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """A card's memory in bytes; `reserved` is the driver's own share, apart from `used`."""

    total_bytes: int
    used_bytes: int
    free_bytes: int
    reserved_bytes: int | None = None

    @property
    def usable_bytes(self) -> int:
        """What CUDA gives as the card's total, of which vLLM takes its share (23.53 of 23.99)."""
        return self.total_bytes - (self.reserved_bytes or 0)


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A compute process on a card; `unit` is the systemd unit by its cgroup, "" for none."""

    pid: int
    name: str = ""
    used_bytes: int | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU at one moment."""

    index: int
    """NVML's, which follows the PCI bus but may shift when a card is lost."""

    uuid: str
    """The name that the card keeps for ever."""

    name: str = ""
    """The product, as "NVIDIA A100-SXM4-80GB"."""

    pci_bus_id: str = ""
    serial: str | None = None
    vbios_version: str | None = None
    compute_capability: str | None = None
    """As "9.0"."""

    lost: bool = False
    """Fallen off the bus (NVML_ERROR_GPU_IS_LOST); all else is then what was known before."""

    reset_required: bool = False
    """It must be reset before it can be used (NVML_ERROR_RESET_REQUIRED)."""

    recovery_action: int | None = None
    """NVML field 230: 0 none, 1 reset, 2 node reboot, 3 drain P2P, 4 drain and reset."""

    temperature_celsius: float | None = None
    memory_temperature_celsius: float | None = None
    margin_celsius: float | None = None
    """Degrees left until the card slows down."""

    thresholds_celsius: Mapping[str, float] = field(default_factory=dict)
    """Where it slows down or shuts down, by the name of the threshold."""

    margin_thresholds_celsius: Mapping[str, float] = field(default_factory=dict)
    """The same as a thermal margin, on cards that tell it so."""

    power_watts: float | None = None
    """The average over one second."""

    power_instant_watts: float | None = None
    power_limits: PowerLimits = field(default_factory=PowerLimits)
    energy_joules: float | None = None
    """Since the driver was loaded."""

    clocks_hertz: Mapping[str, float] = field(default_factory=dict)
    """Present clocks by domain."""

    clocks_max_hertz: Mapping[str, float] = field(default_factory=dict)
    clock_events: ClockEvents | None = None
    """The reasons that keep the clocks down now."""

    clock_events_supported: ClockEvents | None = None
    """The reasons that this card can give."""

    clock_event_seconds: Mapping[str, float] = field(default_factory=dict)
    """For how long each reason kept them down since the driver was loaded."""

    utilization_ratio: float | None = None
    """Share of time in which the GPU had work, 0..1."""

    memory_utilization_ratio: float | None = None
    """Share of time in which its memory was read or written, 0..1."""

    memory: GpuMemory | None = None
    memory_unified: bool = False
    """The card has no memory of its own: `memory` is the host's."""

    processes: tuple[GpuProcess, ...] | None = None
    ecc_enabled: bool | None = None
    ecc_errors: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """Counts, by severity and by scope (volatile, aggregate)."""

    retired_pages: Mapping[str, int] = field(default_factory=dict)
    """Memory pages taken out of use, by the kind of error."""

    retired_pages_pending: bool | None = None
    """More are to be taken out at the next reset."""

    remapped_rows: Mapping[str, int] = field(default_factory=dict)
    """Memory rows that were replaced, by the kind of error."""

    row_remap_pending: bool | None = None
    """More are to be replaced at the next reset."""

    row_remap_failed: bool | None = None
    """A row could not be replaced: the card is to be exchanged."""

    pcie_generation: int | None = None
    pcie_generation_max: int | None = None
    pcie_width: int | None = None
    pcie_width_max: int | None = None
    pcie_replays: int | None = None
    """Packets that had to be sent again."""

    fan_ratio: float | None = None
    """Fan speed as a share of the highest; some cards go above 1."""

    performance_state: int | None = None
    """0 is the highest."""

    persistence_mode: bool | None = None
    """The driver stays loaded when nobody uses the GPU."""

    mig_mode: bool | None = None
    """The GPU is divided into instances."""

    problem: str = ""
    """What went wrong with it at the last look, as being lost; "" for nothing."""


@dataclass(frozen=True, slots=True)
class Driver:
    """The NVIDIA driver: what is loaded, and what the next start of a process would meet."""

    library_version: str = ""
    """Of the NVML library on disk; a version that is not known is ""."""

    module_version: str = ""
    """Of the loaded kernel module."""

    installed_module_version: str = ""
    """Of the kernel module that the next boot loads."""

    cuda_version: str = ""
    problem: str = ""
    """Why NVML does not work, in one sentence; "" while it does."""

    mapped_version: str = ""
    """Of the library that the agent itself has loaded and cannot let go of."""

    @property
    def present(self) -> bool:
        """Whether the host has anything of a driver."""
        return bool(self.library_version or self.module_version or not self.problem)

    @property
    def outlived(self) -> bool:
        """Whether the host runs another driver than that whose library the agent has loaded."""
        return bool(
            self.mapped_version
            and self.module_version
            and self.module_version != self.mapped_version
            and self.module_version == self.library_version
        )

    @property
    def mismatch(self) -> bool:
        """Whether a new CUDA process would fail because library and module differ."""
        return bool(
            self.library_version
            and self.module_version
            and self.library_version != self.module_version
        )


@dataclass(frozen=True, slots=True)
class Gpus:
    """All GPUs at the agent time `at`; `gpus` in the order of their index, lost ones included.

    `at` is when NVML last answered, 0.0 for never. `nameless` are the indices of GPUs that NVML
    counts but cannot reach, and that were lost before the agent could learn their UUIDs.
    """

    at: float
    gpus: tuple[Gpu, ...] = ()
    driver: Driver = field(default_factory=Driver)
    nameless: tuple[int, ...] = ()

    def used_by(self, names: tuple[str, ...]) -> tuple[Gpu, ...]:
        """Return those that `gpus` of a service's settings names: "all", indices or UUIDs."""
        if "all" in names:
            return self.gpus
        return tuple(g for g in self.gpus if g.uuid in names or str(g.index) in names)
