# SPDX-License-Identifier: Apache-2.0
"""All programs that run containers, as they are looked for on this host."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from agent.core.settings.engine import Runtime
from agent.host.probes.runtimes.docker import DockerProbe
from agent.host.probes.runtimes.podman import PodmanProbe
from agent.host.probes.runtimes.runtime import RuntimeProbe

PROBES: Mapping[Runtime, RuntimeProbe] = MappingProxyType(
    {Runtime.PODMAN: PodmanProbe(), Runtime.DOCKER: DockerProbe()}
)
