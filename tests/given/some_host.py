# SPDX-License-Identifier: Apache-2.0
"""A host as the agent sees it, with one service that runs."""

from __future__ import annotations

from agent.core.view.host import Disk, HostView, Machine, ServiceUsage

GIB = 1 << 30
HOST = HostView(
    machine=Machine(64 * GIB, 60 * GIB, 8 * GIB, 8 * GIB, 1.5, 1.25, 1.0),
    disks=(
        Disk("/var/lib/vllm/huggingface", 1000 * GIB, 400 * GIB),
        Disk("/var/cache/vllm", 100 * GIB, 40 * GIB),
    ),
    services={"vllm": ServiceUsage(3, 12.5, 4 * GIB, 5 * GIB, 900, 1048576)},
)
