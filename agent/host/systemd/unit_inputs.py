# SPDX-License-Identifier: Apache-2.0
"""What of this host a unit depends on: groups, NVIDIA's devices, where the engine's files are."""

from __future__ import annotations

import grp
from pathlib import Path

from agent.core.unit.container_user import ContainerUser
from agent.core.unit.text import UnitInputs

GPU_GROUPS = ("video", "render")


def unit_inputs(
    read_paths: tuple[str, ...], *, needs_no_hub: bool, container_user: ContainerUser | None
) -> UnitInputs:
    """Look at the host; `read_paths` are those of the engine that the unit starts."""
    return UnitInputs(
        groups=frozenset(name for name in GPU_GROUPS if _group_exists(name)),
        nvidia_devices=Path("/proc/driver/nvidia/version").exists(),
        read_paths=read_paths,
        needs_no_hub=needs_no_hub,
        container_user=container_user,
    )


def _group_exists(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True
