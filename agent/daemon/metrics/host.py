# SPDX-License-Identifier: Apache-2.0
"""The host's own figures as metric families, for hosts that have no node_exporter."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import Metric

from agent.core.view.host import HostView, Machine, ServiceUsage
from agent.daemon.metrics.families import counter, gauge


def host_families(view: HostView | None) -> Iterator[Metric]:
    """Yield every family; none where [metrics] host is off."""
    if view is None:
        return
    for name, text, of_machine in MACHINE:
        values = [] if view.machine is None else [((), of_machine(view.machine))]
        yield gauge(name, text, (), values)
    yield gauge(
        "llmagent_host_disk_size_bytes",
        "Size of the file system that holds a directory.",
        ("path",),
        [((disk.path,), disk.size_bytes) for disk in view.disks],
    )
    yield gauge(
        "llmagent_host_disk_free_bytes",
        "Space that a user may still fill on the file system that holds a directory.",
        ("path",),
        [((disk.path,), disk.free_bytes) for disk in view.disks],
    )
    used = view.services.items()
    for name, text, of_service in SERVICES:
        found = [((service,), of_service(usage)) for service, usage in used]
        yield gauge(name, text, ("service",), [(k, v) for k, v in found if v is not None])
    yield counter(
        "llmagent_host_service_cpu_seconds",
        "CPU time of a service's processes since it was started.",
        ("service",),
        [((name,), usage.cpu_seconds) for name, usage in used if usage.cpu_seconds is not None],
    )


MACHINE: tuple[tuple[str, str, Callable[[Machine], float]], ...] = (
    ("llmagent_host_memory_total_bytes", "Memory.", lambda host: host.memory_total_bytes),
    (
        "llmagent_host_memory_available_bytes",
        "Memory that programs can still have without swapping.",
        lambda host: host.memory_available_bytes,
    ),
    ("llmagent_host_swap_total_bytes", "Swap.", lambda host: host.swap_total_bytes),
    ("llmagent_host_swap_free_bytes", "Swap that is free.", lambda host: host.swap_free_bytes),
    ("llmagent_host_load1", "Tasks that ran or waited, over 1 minute.", lambda host: host.load1),
    ("llmagent_host_load5", "Tasks that ran or waited, over 5 minutes.", lambda host: host.load5),
    (
        "llmagent_host_load15",
        "Tasks that ran or waited, over 15 minutes.",
        lambda host: host.load15,
    ),
)

SERVICES: tuple[tuple[str, str, Callable[[ServiceUsage], float | None]], ...] = (
    (
        "llmagent_host_service_memory_bytes",
        "Host memory of a service, its page cache included.",
        lambda usage: usage.memory_bytes,
    ),
    (
        "llmagent_host_service_memory_peak_bytes",
        "The most host memory that a service has had.",
        lambda usage: usage.memory_peak_bytes,
    ),
    (
        "llmagent_host_service_processes",
        "Processes of a service.",
        lambda usage: usage.processes,
    ),
    (
        "llmagent_host_service_open_fds",
        "Open file descriptors of that process of a service which is nearest to its limit.",
        lambda usage: usage.open_files,
    ),
    (
        "llmagent_host_service_max_fds",
        "How many file descriptors that process may open.",
        lambda usage: usage.open_files_limit,
    ),
)
