# SPDX-License-Identifier: Apache-2.0
"""The unit of a host that serves together with others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.core.command.parallel import parallel_of
from agent.core.command.picture import picture_of
from agent.core.engine.install import Engine
from agent.core.settings.cluster import ClusterSettings
from agent.core.settings.engine import EngineSettings, Runtime
from agent.core.settings.service import Settings
from agent.core.unit.container_command import container_environment
from agent.core.unit.text import UnitInputs, render_unit
from tests.given.cluster.two_hosts import of_two
from tests.given.unit_reader import argv, environment, values_of

ENGINE = Engine("0.32.0", has_vllm_metadata=True, flags=None)
NODES = of_two(0)
HEAD = Settings(
    "vllm", "/srv/m", tensor_parallel_size=2, api_server_count=2, cluster=NODES, uds="/run/v/s"
)
FOLLOWER = replace(HEAD, cluster=of_two(1))
REPLICAS = ClusterSettings(
    peers=("http://10.0.0.2:9836",),
    host_ip="10.0.0.2",
    data_parallel_address="10.0.0.1",
    data_parallel_rpc_port=13345,
    data_parallel_size_local=1,
    data_parallel_start_rank=1,
)


def rendered(settings: Settings) -> str:
    return render_unit(settings, ENGINE, UnitInputs())


def test_the_head_says_where_the_engines_meet() -> None:
    words = argv(rendered(HEAD))
    asked = {"--nnodes=2", "--node-rank=0", "--master-addr=10.0.0.1", "--tensor-parallel-size=2"}
    assert asked <= set(words)
    assert "--headless" not in words
    assert "--api-server-count=2" in words


def test_a_follower_is_headless_and_is_asked_for_nothing_that_is_for_requests() -> None:
    words = argv(rendered(FOLLOWER))
    assert {"--node-rank=1", "--headless"} <= set(words)
    assert not [word for word in words if word.startswith(("--api-server-count", "--uds"))]


@pytest.mark.parametrize("rank", range(3))
def test_three_hosts_of_one_gpu_each_are_a_pipeline(rank: int) -> None:
    peers = tuple(f"http://10.0.0.{n + 1}:9836" for n in range(3) if n != rank)
    third = replace(of_two(0), peers=peers, nnodes=3, node_rank=rank, host_ip=f"10.0.0.{rank + 1}")
    asked = Settings("vllm", "/srv/m", pipeline_parallel_size=3, cluster=third)
    words = argv(rendered(asked))
    assert {"--nnodes=3", f"--node-rank={rank}", "--pipeline-parallel-size=3"} <= set(words)
    assert [word for word in words if word.startswith("--tensor")] == []
    assert ("--headless" in words) == (rank > 0)
    assert parallel_of(picture_of(asked)).gpus == 1, "of this host"


def test_a_host_of_replicas_says_which_are_its_own() -> None:
    words = argv(rendered(replace(HEAD, data_parallel_size=2, cluster=REPLICAS)))
    assert words[-7:-2] == [
        "--data-parallel-address=10.0.0.1",
        "--data-parallel-rpc-port=13345",
        "--data-parallel-size-local=1",
        "--data-parallel-start-rank=1",
        "--headless",
    ]


def test_the_engine_meets_the_others_at_the_address_and_interface_that_are_named() -> None:
    given = environment(rendered(HEAD))
    assert given["VLLM_HOST_IP"] == "10.0.0.1"
    assert (given["GLOO_SOCKET_IFNAME"], given["NCCL_SOCKET_IFNAME"]) == ("eth1", "eth1")
    bare = environment(rendered(replace(HEAD, cluster=replace(NODES, interface=None))))
    assert "GLOO_SOCKET_IFNAME" not in bare


def test_what_the_operator_sets_himself_stays() -> None:
    own = replace(HEAD, environment={"NCCL_SOCKET_IFNAME": "ib0"})
    assert environment(rendered(own))["NCCL_SOCKET_IFNAME"] == "ib0"


def test_the_sandbox_leaves_the_network_and_rdma_open_and_memory_may_be_locked() -> None:
    unit = rendered(replace(HEAD, outgoing_addresses=("10.1.0.0/16",), uds=None))
    assert values_of(unit, "IPAddressDeny") == []
    assert "char-infiniband* rw" in values_of(unit, "DeviceAllow")
    assert values_of(unit, "LimitMEMLOCK") == ["infinity"]


def test_only_who_takes_requests_is_asked_to_end_them() -> None:
    assert values_of(rendered(HEAD), "ExecStop")
    assert not values_of(rendered(FOLLOWER), "ExecStop")
    assert values_of(rendered(FOLLOWER), "KillSignal") == ["SIGKILL"]


def test_a_container_finds_the_same_around_it() -> None:
    image = EngineSettings(Runtime.PODMAN, image="x/y:v0.32.0")
    given = container_environment(replace(HEAD, engine=image), "vllm.service")
    assert (given["VLLM_HOST_IP"], given["NCCL_SOCKET_IFNAME"]) == ("10.0.0.1", "eth1")


def test_a_host_needs_the_gpus_of_its_own_part_alone() -> None:
    four = replace(HEAD, tensor_parallel_size=8, pipeline_parallel_size=2)
    assert parallel_of(picture_of(four)).gpus == 8
    replicas = replace(HEAD, data_parallel_size=4, tensor_parallel_size=2, cluster=REPLICAS)
    assert parallel_of(picture_of(replicas)).gpus == 2
