# SPDX-License-Identifier: Apache-2.0
"""The whole of agent.toml: services, GPUs, heat, the exporter, and other hosts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType

from agent.core.record import dataclass
from agent.core.settings.fleet import Fleet
from agent.core.settings.gpus import Power, Thermal
from agent.core.settings.notify import Notify
from agent.core.settings.service import ServicePolicy


@dataclass(frozen=True, slots=True)
class Metrics:
    """[metrics]: where the agent's own metrics are served; `address`, `port` are `listen` split.

    `host` tells whether figures of the host are among them, `page` whether the status page with
    its history is there too.
    """

    address: str = "127.0.0.1"
    port: int = 9836
    web_config_file: str = ""
    host: bool = True
    page: bool = True

    @property
    def listen(self) -> str:
        """The address as the file has it, an IPv6 host in brackets."""
        return (
            f"[{self.address}]:{self.port}"
            if ":" in self.address
            else f"{self.address}:{self.port}"
        )


@dataclass(frozen=True, slots=True)
class Config:
    """The whole of agent.toml with defaults filled in; `services` by name, in the file's order."""

    services: Mapping[str, ServicePolicy] = field(default_factory=lambda: MappingProxyType({}))
    metrics: Metrics = field(default_factory=Metrics)
    power: Power = field(default_factory=Power)
    thermal: Thermal = field(default_factory=Thermal)
    notify: Notify = field(default_factory=Notify)
    fleet: Fleet = field(default_factory=Fleet)
