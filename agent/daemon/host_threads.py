# SPDX-License-Identifier: Apache-2.0
"""The threads that look at the host itself: its figures and its disks."""

from __future__ import annotations

from agent.daemon.clock import Clock
from agent.daemon.publisher import Publisher
from agent.daemon.sources.host import DiskSource, HostSource, host_view
from agent.daemon.sources.thread import SourceThread


def watch_host(publisher: Publisher, clock: Clock) -> tuple[SourceThread, ...]:
    """Return the threads that look at the host; the publisher shows what they see."""
    host = HostSource(lambda: publisher.latest[0], clock)
    disk = DiskSource(lambda: publisher.latest[0], clock)
    publisher.watch_host(lambda now: host_view(host, disk, now))
    threads = (SourceThread(host, clock), SourceThread(disk, clock))
    for thread in threads:
        publisher.watch_health(thread.health)
    return threads
