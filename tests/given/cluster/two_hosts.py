# SPDX-License-Identifier: Apache-2.0
"""[service.NAME.cluster] of two hosts that share one replica."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from agent.core.settings.cluster import ClusterSettings

ADDRESSES: Final = ("10.0.0.1", "10.0.0.2")
"""Of the hosts, by rank; the first is the head's."""


def of_two(rank: int) -> ClusterSettings:
    """Returns what the host of this rank is told."""
    return ClusterSettings(
        peers=(f"http://{ADDRESSES[1 - rank]}:9836",),
        host_ip=ADDRESSES[rank],
        interface="eth1",
        nnodes=2,
        node_rank=rank,
        master_addr=ADDRESSES[0],
    )


def of_two_here(rank: int) -> ClusterSettings:
    """Returns the same where both are this machine; nobody answers for the other's agent."""
    here = "127.0.0.1"
    at = replace(of_two(rank), peers=(f"http://{here}:1",), interface="lo")
    return replace(at, host_ip=here, master_addr=here)
