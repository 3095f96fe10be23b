# SPDX-License-Identifier: Apache-2.0
"""[service.NAME.cluster]: one service over several hosts, on vLLM's own engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from agent.core.record import dataclass

OPTIONS = (
    *("nnodes", "node_rank", "master_addr", "master_port"),
    *("data_parallel_address", "data_parallel_rpc_port", "data_parallel_size_local"),
    *("data_parallel_start_rank", "data_parallel_rank", "data_parallel_hybrid_lb"),
)
"""Keys that are options of vLLM under vLLM's own names (0.12..0.33), in the line's order."""

ASKED_BY = ("peers", "user", "password_file", "ca_file")
"""Keys that are about the peers' agents alone: no engine is started anew for them."""

RAY_OPTION = "distributed_executor_backend"
"""The option that Ray needs: since 0.33 there is one executor of that name (RayExecutorV2)."""

MASTER_PORT = 29501
"""vLLM's default for --master-port (vllm/config/parallel.py, 0.12..0.33)."""


def ray_unit_of(name: str) -> str:
    """Return the name of the unit that runs Ray's head for the service of this name."""
    return f"{name}-ray.service"


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """This host's place among the hosts of one service; None means "vLLM decides".

    Either `nnodes` splits one replica over the hosts (the mp backend), or `data_parallel_address`
    puts replicas on each of them, or both. How the peers' agents are asked is no part of what two
    of these compare: the engine does not know of it.
    """

    peers: tuple[str, ...] = field(default=(), compare=False)
    """Where the agents of all other hosts are asked: http:// or https://HOST:PORT."""

    host_ip: str = ""
    """The address of this host at which the others reach its engine (VLLM_HOST_IP)."""

    interface: str | None = None
    """The network interface of that address, for gloo and NCCL."""

    nnodes: int | None = None
    node_rank: int | None = None
    master_addr: str | None = None
    master_port: int | None = None
    ray_port: int | None = None
    """The port of Ray's head at `master_addr`, where the hosts meet by Ray in place of vLLM."""

    data_parallel_address: str | None = None
    data_parallel_rpc_port: int | None = None
    data_parallel_size_local: int | None = None
    data_parallel_start_rank: int | None = None
    data_parallel_rank: int | None = None
    """One rank a process, each with an address of its own, behind a balancer of other people's."""

    data_parallel_hybrid_lb: bool | None = None
    """Each host takes requests for its own ranks."""

    headless_asked: bool | None = None
    """`headless`, where the rank does not tell: a host that only computes, first of the ranks."""

    user: str = field(default="", compare=False)
    """The user in the peers' web_config_file, "" where they ask for none."""

    password_file: str | None = field(default=None, compare=False)
    ca_file: str | None = field(default=None, compare=False)
    """Certificates to trust besides the system's (PEM)."""

    @property
    def headless(self) -> bool:
        """Whether vLLM computes here and takes no requests."""
        if self.headless_asked is not None:
            return self.headless_asked
        if self.nnodes is not None and (self.node_rank or 0) > 0:
            return True
        own_api = self.data_parallel_hybrid_lb or self.data_parallel_rank is not None
        return not own_api and (self.data_parallel_start_rank or 0) > 0

    @property
    def member(self) -> int:
        """The number of this host among the members of the group; the head's is 0."""
        if self.nnodes is not None:
            return self.node_rank or 0
        if self.data_parallel_rank is not None:
            return self.data_parallel_rank
        first = self.data_parallel_start_rank or 0
        # The first of the ranks may be on a host beside a head that computes nothing.
        return first + 1 if self.headless else first

    @property
    def is_head(self) -> bool:
        """Whether the others' engines meet at this host."""
        return self.member == 0

    @property
    def size(self) -> int:
        """How many hosts there are."""
        return len(self.peers) + 1

    @property
    def meeting_address(self) -> str:
        """The address of the head, where all engines meet."""
        return self.master_addr or self.data_parallel_address or ""

    @property
    def meeting_port(self) -> int | None:
        """The port that the head's engine keeps open while it lives, None where there is none.

        That of torch's store (--master-port), or Ray's; the one of data parallelism is closed after
        a start.
        """
        if self.ray_port is not None:
            return self.ray_port
        return None if self.nnodes is None else self.master_port or MASTER_PORT

    @property
    def options(self) -> Mapping[str, str | int | bool]:
        """The options of vLLM by vLLM's names, `headless` included, that are given."""
        given = {name: getattr(self, name) for name in OPTIONS}
        asked = {name: value for name, value in given.items() if value is not None}
        return {**asked, "headless": True} if self.headless else asked

    @property
    def starts_ray(self) -> bool:
        """Whether Ray's head is started here, beside vLLM."""
        return self.ray_port is not None and not self.headless

    @property
    def arguments(self) -> Mapping[str, str | int | bool]:
        """Those that vLLM's command line gets: Ray tells it of the hosts that meet by Ray."""
        return self.options if self.ray_port is None else {RAY_OPTION: "ray"}

    def __str__(self) -> str:
        """Return what it is, as the history tells it."""
        return f"member {self.member} of {self.size} hosts"
