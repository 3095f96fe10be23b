# SPDX-License-Identifier: Apache-2.0
"""Who a process on a GPU is: its short name and the systemd unit that it belongs to."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Final

from agent.core.gpu import GpuProcess

LONGEST_NAME: Final = 15
"""The kernel's comm; a command line may hold secrets and is never read."""
CONTAINERS: Final = Path("/run/llmagent-containers")
_CONTAINER_ID: Final = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
UNITS: Final = (".service", ".scope")


def process_of(
    pid: int, used_bytes: int | None, proc: Path, containers: Path = CONTAINERS
) -> GpuProcess:
    """Return what /proc says of a process; name and unit are "" once it has ended.

    The engine in a container of docker counts as its service's, though docker's daemon keeps it;
    `containers` holds NAME/cid for each service in a container.
    """
    name = unit = ""
    with contextlib.suppress(OSError):
        name = (proc / str(pid) / "comm").read_text(errors="replace").strip()[:LONGEST_NAME]
        groups = (proc / str(pid) / "cgroup").read_text(errors="replace")
        unit = _service_of_container(groups, containers) or unit_in(groups)
    return GpuProcess(pid, name, used_bytes, unit)


def _service_of_container(groups: str, containers: Path) -> str:
    """Return the unit whose container has its id in these control groups, "" for none of ours."""
    found = set(_CONTAINER_ID.findall(groups))
    for file in containers.glob("*/cid") if found else ():
        with contextlib.suppress(OSError):
            if file.read_text(errors="replace").strip() in found:
                return f"{file.parent.name}.service"
    return ""


def unit_in(cgroup: str) -> str:
    """Return the innermost unit of /proc/PID/cgroup: of version 2's line, or of systemd's own."""
    for line in cgroup.splitlines():
        hierarchy, controllers, path = (*line.split(":", 2), "", "")[:3]
        if hierarchy == "0" or controllers == "name=systemd":
            for part in reversed(path.split("/")):
                if part.endswith(UNITS):
                    return part
    return ""
