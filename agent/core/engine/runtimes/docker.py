# SPDX-License-Identifier: Apache-2.0
"""docker's daemon keeps the container's processes; the unit has the client that stays attached.

20.10 brought --pull, 25.0 CDI, behind a feature flag until 28.2 (docker's release notes).
"""

from __future__ import annotations

from agent.core.engine.runtimes.runtime import ContainerRuntime
from agent.core.settings.engine import GpuAccess

DOCKER = ContainerRuntime(
    name="docker",
    package="docker.io",
    client_package="docker-cli",  # Debian 13's docker.io only recommends it
    oldest=(20, 10),
    first_with_cdi=(25, 0),
    gpu_access=frozenset({GpuAccess.CDI, GpuAccess.GPUS, GpuAccess.NONE}),
    run_options=("--log-driver=none",),
    no_setuid=(),
    ordering=(
        "After=docker.service nvidia-cdi-refresh.service",
        "Wants=docker.service",
    ),
    in_control_group=False,
)
