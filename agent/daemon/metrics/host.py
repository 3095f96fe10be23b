# SPDX-License-Identifier: Apache-2.0
"""The host's own figures as metric families, for hosts that have no node_exporter."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from agent.core.view.host import Disk, HostView, Machine, ServiceUsage
from agent.daemon.metrics.families import Row, counter, families, gauge


def host_families(view: HostView | None) -> Iterator[Metric]:
    """Yield every family; none where [metrics] host is off."""
    if view is None:
        return
    yield from families(MACHINE, [] if view.machine is None else [((), view.machine)])
    yield from families(DISKS, [((disk.path,), disk) for disk in view.disks], ("path",))
    used = [((name,), usage) for name, usage in view.services.items()]
    yield from families(SERVICES, used, ("service",))


MACHINE: tuple[Row[Machine], ...] = (
    gauge("llmagent_host_memory_total_bytes", "Memory.", lambda host: host.memory_total_bytes),
    gauge(
        "llmagent_host_memory_available_bytes",
        "Memory that programs can still have without swapping.",
        lambda host: host.memory_available_bytes,
    ),
    gauge("llmagent_host_swap_total_bytes", "Swap.", lambda host: host.swap_total_bytes),
    gauge("llmagent_host_swap_free_bytes", "Swap that is free.", lambda host: host.swap_free_bytes),
    gauge(
        "llmagent_host_load1", "Tasks that ran or waited, over 1 minute.", lambda host: host.load1
    ),
    gauge(
        "llmagent_host_load5", "Tasks that ran or waited, over 5 minutes.", lambda host: host.load5
    ),
    gauge(
        "llmagent_host_load15",
        "Tasks that ran or waited, over 15 minutes.",
        lambda host: host.load15,
    ),
)

DISKS: tuple[Row[Disk], ...] = (
    gauge(
        "llmagent_host_disk_size_bytes",
        "Size of the file system that holds a directory.",
        lambda disk: disk.size_bytes,
    ),
    gauge(
        "llmagent_host_disk_free_bytes",
        "Space that a user may still fill on the file system that holds a directory.",
        lambda disk: disk.free_bytes,
    ),
)

SERVICES: tuple[Row[ServiceUsage], ...] = (
    gauge(
        "llmagent_host_service_memory_bytes",
        "Host memory of a service, its page cache included.",
        lambda usage: usage.memory_bytes,
    ),
    gauge(
        "llmagent_host_service_memory_peak_bytes",
        "The most host memory that a service has had.",
        lambda usage: usage.memory_peak_bytes,
    ),
    gauge(
        "llmagent_host_service_processes",
        "Processes of a service.",
        lambda usage: usage.processes,
    ),
    gauge(
        "llmagent_host_service_open_fds",
        "Open file descriptors of that process of a service which is nearest to its limit.",
        lambda usage: usage.open_files,
    ),
    gauge(
        "llmagent_host_service_max_fds",
        "How many file descriptors that process may open.",
        lambda usage: usage.open_files_limit,
    ),
    counter(
        "llmagent_host_service_cpu_seconds",
        "CPU time of a service's processes since it was started.",
        lambda usage: usage.cpu_seconds,
    ),
)
