# SPDX-License-Identifier: Apache-2.0
"""Units of ours that still run though agent.toml has dropped them: nobody watches them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from agent.places import UNIT_DIRECTORY

CGROUPS = (Path("/sys/fs/cgroup/system.slice"), Path("/sys/fs/cgroup/systemd/system.slice"))
"""Where systemd has a directory for each unit that runs (cgroup v2, and v1's own hierarchy)."""


def unwatched(
    services: Mapping[str, Mapping[str, Any]],
    units: Path = UNIT_DIRECTORY,
    groups: Collection[Path] = CGROUPS,
) -> Iterator[str]:
    """Yield a sentence for each; `services` are those in force, as status.json has them."""
    for file in sorted(units.glob("*.service")):
        name = file.name.removesuffix(".service")
        if name in services or name.endswith("-fetch") or _is_ray_of(name, services):
            continue
        if any((group / file.name).is_dir() for group in groups):
            yield (
                f"{file.name} still runs, but is not in agent.toml any more, so nobody watches it: "
                f"put [service.{name}] back, or `systemctl disable --now {name}`"
            )


def _is_ray_of(name: str, services: Mapping[str, Mapping[str, Any]]) -> bool:
    """Tell whether it is Ray's part of a service over several hosts: `agent.core.unit.ray`."""
    service = services.get(name.removesuffix("-ray"), {}) if name.endswith("-ray") else {}
    return bool(service.get("cluster"))
