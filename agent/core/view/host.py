# SPDX-License-Identifier: Apache-2.0
"""The host as status.json and the exporter show it; None where the kernel does not tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from agent.core.record import dataclass


@dataclass(frozen=True, slots=True)
class Machine:
    """Memory of the host in bytes, and how many tasks ran or waited on average over minutes."""

    memory_total_bytes: int
    memory_available_bytes: int
    swap_total_bytes: int
    swap_free_bytes: int
    load1: float
    load5: float
    load15: float


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system below `path`; `free_bytes` is what a user may still fill."""

    path: str
    size_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class ServiceUsage:
    """What the control group of a service has used, and how many processes it has.

    `open_files` and `open_files_limit` are those of the process that is nearest to its limit.
    """

    processes: int
    cpu_seconds: float | None = None
    memory_bytes: int | None = None
    memory_peak_bytes: int | None = None
    open_files: int | None = None
    open_files_limit: int | None = None


@dataclass(frozen=True, slots=True)
class HostView:
    """What is known of the host now; `services` by name, those that run."""

    machine: Machine | None = None
    disks: tuple[Disk, ...] = ()
    services: Mapping[str, ServiceUsage] = field(default_factory=dict)
