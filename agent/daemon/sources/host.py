# SPDX-License-Identifier: Apache-2.0
"""Looks at the host for the exporter: /proc and control groups, and, apart from them, the disks.

The disks have a thread of their own, since a network file system that is gone never answers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from agent.core.record import dataclass
from agent.core.settings.service import Settings
from agent.core.state.host import HostState
from agent.core.unit.environment import environment_of
from agent.core.view.host import Disk, HostView, Machine, ServiceUsage
from agent.daemon.clock import Clock
from agent.daemon.sources.resting import RestingSource
from agent.host.machine.cgroups import read_mounts, read_usage
from agent.host.machine.disk import disk_space
from agent.host.machine.figures import read_machine

LOOK_SECONDS = 5.0
DISK_SECONDS = 30.0
CACHE = "/var/cache/vllm"
"""Where every service has what it compiles."""


@dataclass(frozen=True, slots=True)
class HostReading:
    """What /proc and the control groups said at the agent time `at`."""

    at: float
    machine: Machine
    services: dict[str, ServiceUsage]


class HostSource(RestingSource):
    """Reads /proc and the control groups of the services that run."""

    name = "host"

    def __init__(self, state: Callable[[], HostState], clock: Clock) -> None:
        super().__init__()
        self._state = state
        self._clock = clock
        self._mounts = read_mounts()
        self.latest: HostReading | None = None

    def look(self) -> None:
        """Read everything, then rest."""
        self.latest = HostReading(self._clock(), read_machine(), dict(self._usages()))
        self.rest(LOOK_SECONDS)

    def _usages(self) -> Iterator[tuple[str, ServiceUsage]]:
        for name, service in self._state().services.items():
            unit = service.live.unit
            if unit is not None and unit.main_pid:
                # The process may have ended since its unit was last read.
                with contextlib.suppress(OSError):
                    yield name, read_usage(f"{name}.service", unit.main_pid, self._mounts)


class DiskSource(RestingSource):
    """Asks how full the file systems are that models and compiled code lie on."""

    name = "disk"

    def __init__(self, state: Callable[[], HostState], clock: Clock) -> None:
        super().__init__()
        self._state = state
        self._clock = clock
        self.latest: tuple[float, tuple[Disk, ...]] | None = None

    def look(self) -> None:
        """Ask for all, then rest. Raises OSError when one cannot be asked, the others are shown."""
        disks: list[Disk] = []
        problem: OSError | None = None
        for path in paths_of(self._state()):
            try:
                disks.append(disk_space(path))
            except OSError as error:
                problem = error
        self.latest = (self._clock(), tuple(disks))
        if problem is not None:
            raise problem
        # Services come right after the start: they are not to wait for half a minute.
        self.rest(DISK_SECONDS if disks else LOOK_SECONDS)


def paths_of(state: HostState) -> tuple[str, ...]:
    """Return the directories that services fill, each once."""
    settings = [s.running or s.configured for s in state.services.values()]
    homes = [_model_cache(one) for one in settings if one is not None]
    return tuple(dict.fromkeys([*homes, CACHE])) if homes else ()


def _model_cache(settings: Settings) -> str:
    return environment_of(settings)["HF_HOME"]


def host_view(host: HostSource, disk: DiskSource, now: float) -> HostView:
    """Return what both saw lately; what is older than three rests is left out."""
    seen, asked = host.latest, disk.latest
    if seen is not None and now - seen.at > 3 * LOOK_SECONDS:
        seen = None
    disks = asked[1] if asked is not None and now - asked[0] <= 3 * DISK_SECONDS else ()
    if seen is None:
        return HostView(disks=disks)
    return HostView(seen.machine, disks, seen.services)
