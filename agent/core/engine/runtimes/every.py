# SPDX-License-Identifier: Apache-2.0
"""All programs that run containers, by their word in agent.toml."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from agent.core.engine.runtimes.docker import DOCKER
from agent.core.engine.runtimes.podman import PODMAN
from agent.core.engine.runtimes.runtime import ContainerRuntime
from agent.core.settings.engine import EngineSettings, Runtime

RUNTIMES: Mapping[Runtime, ContainerRuntime] = MappingProxyType(
    {Runtime.PODMAN: PODMAN, Runtime.DOCKER: DOCKER}
)


def runtime_of(engine: EngineSettings) -> ContainerRuntime:
    """Return what runs the service's container; ValueError where it has none."""
    if not engine.in_container:
        raise ValueError("a virtual environment is no container")
    return RUNTIMES[engine.runtime]
