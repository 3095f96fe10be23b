# SPDX-License-Identifier: Apache-2.0
"""Looks at the GPUs: each second while one heats up, each two while they work, five while idle.

NVML's calls are made in a thread of their own. When one hangs (a driver that is stuck), that thread
is left to it: this one goes on to watch the driver's files, says that the source is down, and uses
NVML again once the call has come back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from agent.core.failures.xids import meaning_of_xid
from agent.core.gpu.clock_reasons import alarming
from agent.core.gpu.reading import ClockEvents, Driver, Gpu, Gpus
from agent.core.gpu.xid_lines import pci_key
from agent.core.record import dataclass
from agent.core.state.observations import GpusSeen, XidSeen
from agent.daemon.clock import Clock
from agent.daemon.sources.deadline_worker import DeadlineWorker
from agent.daemon.sources.thread import Emit
from agent.errors import AgentError
from agent.host.nvidia.calls import Doing, NvmlError
from agent.host.nvidia.driver_files import DriverFiles, DriverVersions
from agent.host.nvidia.events import XidEvent
from agent.host.nvidia.nvml import NvmlLook

BUSY_SECONDS = 1.0
STEADY_SECONDS = 2.0
STEADY_CELSIUS = 2.0
"""A card whose temperature changes by more than this between two looks is looked at each second."""
IDLE_SECONDS = 5.0
MEDIUM_SECONDS = 10.0
SLOW_SECONDS = 60.0
FILES_SECONDS = 5.0
RETRY_SECONDS = (5.0, 10.0, 20.0, 30.0)
"""Between tries of a driver that does not work; the source's thread adds up to 30."""
ABSENT_SECONDS = (5.0, 10.0, 20.0, 40.0, 60.0)
"""Between looks for a driver on a host that has none."""
LOG_SECONDS = 2.0
"""An Xid of NVML waits so long for its line in the kernel log, which says more."""
EARLY_SECONDS = 0.1
"""Readings come in three groups (every look, 10 s, 60 s); one due within this time is read now."""


NOTHING = NvmlLook((), (), "")


class NvmlHungError(AgentError):
    """Tells which call of NVML has not returned."""


class NvmlLike(Protocol):
    """What is used of host.nvml.Nvml."""

    doing: Doing

    def open(self, library: Path | None = None) -> None:
        """Begin anew; raises NvmlError. `library` is the file that the loader is going to find."""

    def look(self, *, medium: bool, slow: bool, processes: bool) -> NvmlLook:
        """Read all cards; raises NvmlError."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a look and a beginning may take before the call counts as hung.

    Without persistence mode a driver takes up to 30 s to bring eight cards up.
    """

    look_seconds: float = 10.0
    open_seconds: float = 90.0


PATIENCE = Patience()


@dataclass(slots=True)
class _Due:
    """When each ring is next read, on the monotonic clock."""

    look: float = 0.0
    medium: float = 0.0
    slow: float = 0.0


class GpuSource:
    """Emits GpusSeen and XidSeen; `wake` and `watch_processes` may be called from any thread."""

    name = "nvml"

    def __init__(
        self,
        nvml: NvmlLike,
        files: DriverFiles,
        emit: Emit,
        clock: Clock,
        patience: Patience = PATIENCE,
    ) -> None:
        self._nvml = nvml
        self._patience = patience
        self._files = files
        self._emit = emit
        self._clock = clock
        self._worker: DeadlineWorker[NvmlLook] = DeadlineWorker("nvml-calls")
        self._woken = threading.Event()
        self._processes = False
        self._opened = False
        self._hung = ""
        self._was_woken = False
        self._failures = 0
        self._due = _Due()
        self._files_at = 0.0
        self._versions = DriverVersions()
        self._last = Gpus(0.0)
        self._told: Gpus | None = None
        self._events: list[tuple[float, XidEvent]] = []

    def wake(self) -> None:
        """Look at once, and read the limits too."""
        self._due = _Due(slow=self._due.slow)
        self._woken.set()

    def watch_processes(self, *, wanted: bool) -> None:
        """Have the processes on the cards read at every look, else once a minute."""
        self._processes = wanted

    def close(self) -> None:
        """End the thread of the calls; what NVML holds goes with the process."""
        self._worker.close()

    def look(self) -> None:
        """Wait for the next turn, then look; raises what keeps NVML from working."""
        self._was_woken = self._woken.wait(max(0.0, self._due.look - time.monotonic()))
        self._woken.clear()
        self._read_files()
        if self._worker.busy:
            self._tell_if_new(self._hung)
            raise NvmlHungError(self._hung)
        if not self._versions.present and not self._opened:
            self._rest(ABSENT_SECONDS)
            self._tell_if_new("there is no NVIDIA driver on this host")
            return
        try:
            seen = self._look()
        except NvmlError as error:
            self._failed(str(error))
            raise
        self._failures = 0
        self._seen(seen)

    def _look(self) -> NvmlLook:
        """Read what is due; raises NvmlError and NvmlHungError."""
        if not self._opened:
            self._ask(self._open, self._patience.open_seconds)
            self._opened, self._due = True, _Due()
        now = time.monotonic() + EARLY_SECONDS
        medium, slow = now >= self._due.medium, now >= self._due.slow
        if medium:
            self._due.medium = now + MEDIUM_SECONDS
        if slow:
            self._due.slow = now + SLOW_SECONDS
            if self._anything_lost() and self._last.at:
                # What fell off the bus or was reset comes back only to who begins anew.
                self._ask(self._open, self._patience.open_seconds)
        processes = self._processes
        return self._ask(
            lambda: self._nvml.look(medium=medium, slow=slow, processes=processes),
            self._patience.look_seconds,
        )

    def _ask(self, call: Callable[[], NvmlLook], seconds: float) -> NvmlLook:
        try:
            return self._worker.do(call, seconds)
        except TimeoutError:
            self._opened = False
            self._hung = (
                f"NVML hangs in {self._nvml.doing.call}, without an answer for {seconds:.0f} s:"
                " the driver is stuck; `journalctl -k` may say why"
            )
            self._failed(self._hung)
            raise NvmlHungError(self._hung) from None

    def _open(self) -> NvmlLook:
        self._nvml.open(self._versions.library)
        return NOTHING

    def _anything_lost(self) -> bool:
        return any(gpu.lost or gpu.reset_required for gpu in self._last.gpus) or bool(
            self._last.nameless
        )

    def _failed(self, why: str) -> None:
        self._opened = False
        self._rest(RETRY_SECONDS)
        # What the files say now decides what the failure means.
        self._files_at = 0.0
        self._read_files()
        self._tell_if_new(why)

    def _rest(self, pauses: tuple[float, ...]) -> None:
        """Set the time of the next try; one that somebody asked for does not make it later."""
        if not self._was_woken or not self._failures:
            self._failures += 1
        self._due.look = time.monotonic() + pauses[min(self._failures, len(pauses)) - 1]

    def _seen(self, seen: NvmlLook) -> None:
        self._due.look = time.monotonic() + rest_after(seen.gpus, self._last.gpus)
        driver = self._driver("", seen.cuda_version)
        self._last = Gpus(self._clock(), seen.gpus, driver, seen.nameless)
        self._told = self._last
        self._emit(GpusSeen(self._last.at, self._last))
        self._events += [(self._last.at, event) for event in seen.xids]
        self._tell_xids()

    def _tell_xids(self) -> None:
        """Emit those that have waited long enough for the kernel log."""
        now = self._last.at
        ripe = [entry for entry in self._events if now - entry[0] >= LOG_SECONDS]
        if not ripe:
            return
        self._events = self._events[len(ripe) :]
        bus_ids = {gpu.uuid: pci_key(gpu.pci_bus_id) for gpu in self._last.gpus}
        for at, event in ripe:
            meaning = meaning_of_xid(event.code)
            self._emit(
                XidSeen(
                    at=now,
                    logged_at=at,
                    pci_bus_id=bus_ids.get(event.uuid, event.uuid),
                    code=event.code,
                    text="an event of NVML; the kernel log has no line of it",
                    name=meaning.name,
                    meaning=meaning.meaning,
                    from_nvml=True,
                )
            )

    def _tell_if_new(self, problem: str) -> None:
        """Emit what is known, with the time of the last answer, when it differs from before."""
        driver = self._driver(problem, self._last.driver.cuda_version)
        known = replace(self._last, driver=driver)
        if known != self._told:
            self._told = known
            self._emit(GpusSeen(self._clock(), known))

    def _driver(self, problem: str, cuda_version: str) -> Driver:
        versions = self._versions
        return Driver(
            library_version=versions.library_version,
            module_version=versions.module_version,
            installed_module_version=versions.installed_module_version,
            cuda_version=cuda_version,
            problem=problem,
            # The agent cannot replace itself while a thread of it is stuck in the kernel.
            mapped_version="" if self._worker.busy else versions.mapped_version,
        )

    def _read_files(self) -> None:
        if time.monotonic() >= self._files_at:
            self._files_at = time.monotonic() + FILES_SECONDS
            self._versions = self._files.read()


def rest_after(gpus: tuple[Gpu, ...], last: tuple[Gpu, ...]) -> float:
    """Return the seconds until the next look; `last` is what the look before saw."""
    if all(map(_idle, gpus)):
        return IDLE_SECONDS
    before = {gpu.uuid: gpu for gpu in last}
    return STEADY_SECONDS if all(_steady(g, before.get(g.uuid)) for g in gpus) else BUSY_SECONDS


def _steady(gpu: Gpu, before: Gpu | None) -> bool:
    if before is None or alarming(gpu, before, BUSY_SECONDS):
        return False
    now, then = gpu.temperature_celsius, before.temperature_celsius
    return now is None or then is None or abs(now - then) <= STEADY_CELSIUS


def _idle(gpu: Gpu) -> bool:
    if gpu.lost or gpu.reset_required:
        return True
    if gpu.utilization_ratio is not None:
        return gpu.utilization_ratio == 0
    return bool(gpu.clock_events and gpu.clock_events & ClockEvents.GPU_IDLE)
