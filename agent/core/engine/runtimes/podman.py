# SPDX-License-Identifier: Apache-2.0
"""podman has no daemon: conmon and vLLM are children of the unit, and write to its own output.

4.0 brought log-driver=passthrough and 4.1 CDI (podman's release notes).
"""

from __future__ import annotations

from agent.core.engine.runtimes.runtime import ContainerRuntime
from agent.core.settings.engine import GpuAccess

PODMAN = ContainerRuntime(
    name="podman",
    package="podman",
    client_package="podman",
    oldest=(4, 1),
    first_with_cdi=(4, 1),
    gpu_access=frozenset({GpuAccess.CDI, GpuAccess.NONE}),
    run_options=("--cgroups=split", "--log-driver=passthrough"),
    no_setuid=("nosuid", "nodev"),
    ordering=("After=nvidia-cdi-refresh.service",),
    in_control_group=True,
)
