# SPDX-License-Identifier: Apache-2.0
"""The systemd unit that a process belongs to, by its control groups, and the other way round."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Final

from agent.places import UNIT_DIRECTORY

CONTAINERS: Final = Path("/run/llmagent-containers")
_CONTAINER_ID: Final = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
UNITS: Final = (".service", ".scope")


RAY: Final = "-ray.service"


def unit_of_groups(groups: str, containers: Path = CONTAINERS, units: Path = UNIT_DIRECTORY) -> str:
    """Return the innermost unit of the text of /proc/PID/cgroup, "" for none.

    The engine in a container of docker counts as its service's, though docker's daemon keeps it;
    `containers` holds NAME/cid for each service in a container. So do vLLM's workers below Ray,
    whose unit `units` holds.
    """
    found = _service_of_container(groups, containers) or _unit_in(groups)
    return _service_of_ray(found, units) if found.endswith(RAY) else found


def _service_of_ray(unit: str, units: Path) -> str:
    """Return the service whose Ray this is; the unit itself where it only has such a name."""
    service = f"{unit.removesuffix(RAY)}.service"
    try:
        text = (units / unit).read_text(errors="replace")
    except OSError:
        return unit
    return service if f"\nPartOf={service}\n" in text else unit


def _service_of_container(groups: str, containers: Path) -> str:
    """Return the unit whose container has its id in these control groups, "" for none of ours."""
    found = set(_CONTAINER_ID.findall(groups))
    for file in containers.glob("*/cid") if found else ():
        with contextlib.suppress(OSError):
            if file.read_text(errors="replace").strip() in found:
                return f"{file.parent.name}.service"
    return ""


def processes_in_container(
    service: str, proc: Path = Path("/proc"), containers: Path = CONTAINERS
) -> tuple[int, ...]:
    """Return the processes in the service's container, as this host numbers them, () for none.

    They are told by the container's id in their control groups, whoever keeps those: docker's
    daemon is not asked, as it may be what hangs.
    """
    try:
        own = (containers / service / "cid").read_text(errors="replace").strip()
    except OSError:
        return ()
    if not _CONTAINER_ID.fullmatch(own):
        return ()
    found = []
    for directory in proc.iterdir():
        if directory.name.isdecimal():
            with contextlib.suppress(OSError):  # it ended meanwhile
                groups = (directory / "cgroup").read_text(errors="replace")
                if own in _CONTAINER_ID.findall(groups):
                    found.append(int(directory.name))
    return tuple(sorted(found))


def _unit_in(groups: str) -> str:
    """Return the innermost unit of version 2's line, or of systemd's own hierarchy."""
    for line in groups.splitlines():
        hierarchy, controllers, path = (*line.split(":", 2), "", "")[:3]
        if hierarchy == "0" or controllers == "name=systemd":
            for part in reversed(path.split("/")):
                if part.endswith(UNITS):
                    return part
    return ""
