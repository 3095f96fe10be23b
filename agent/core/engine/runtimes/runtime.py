# SPDX-License-Identifier: Apache-2.0
"""What llmagent has to know of a program that runs containers."""

from __future__ import annotations

from agent.core.record import dataclass
from agent.core.settings.engine import GpuAccess


@dataclass(frozen=True, slots=True)
class ContainerRuntime:
    """One program with podman's and docker's command line ("run", "stop", "rm", "ps")."""

    name: str
    """As agent.toml and the command line have it."""

    package: str
    """Debian's package that holds it."""

    client_package: str
    """Debian's package of the command line, where the daemon can be there without it."""

    oldest: tuple[int, int]
    """The first release that has all options which the unit gives it."""

    first_with_cdi: tuple[int, int]
    """The first release that takes GPUs as CDI devices."""

    gpu_access: frozenset[GpuAccess]
    """The ways that it takes GPUs."""

    run_options: tuple[str, ...]
    """What "run" is given so that what vLLM prints reaches the journal once."""

    no_setuid: tuple[str, ...]
    """Options of a mount that let nobody leave setuid programs or devices there; () knows none."""

    ordering: tuple[str, ...]
    """Lines of [Unit]: what must be up before the container is started."""

    in_control_group: bool
    """Whether vLLM's processes are in the unit's control group.

    Then a kill of the unit is their end, and what systemd counts of CPU and memory is theirs.
    """

    @property
    def program(self) -> str:
        """The path of the program on Debian."""
        return f"/usr/bin/{self.name}"
