# SPDX-License-Identifier: Apache-2.0
"""What the doctor says of the network between hosts that serve together."""

from __future__ import annotations

from dataclasses import replace

from agent.core.doctor.cluster import (
    Door,
    Interface,
    PeerClock,
    Rdma,
    RdmaPort,
    judge_door,
    judge_interface,
    judge_peers,
    judge_rdma,
)
from agent.core.doctor.finding import Result
from agent.core.doctor.limits import Limits, judge_limits
from agent.core.settings.engine import EngineSettings, Runtime
from agent.core.settings.service import Settings
from tests.given.cluster.two_hosts import of_two

CLUSTER = of_two(1)
SERVICE = Settings("vllm", "/srv/m", tensor_parallel_size=2, cluster=CLUSTER)
ACTIVE = Rdma((RdmaPort("mlx5_0/1", "ACTIVE"),), devices=True)


def test_an_interface_without_the_address_would_be_the_wrong_one() -> None:
    there = Interface("up", ("10.0.0.2",))
    assert judge_interface("vllm", CLUSTER, there, is_ours=True).result is Result.OK
    other = judge_interface("vllm", CLUSTER, Interface("up", ("10.9.9.9",)), is_ours=True)
    assert other.result is Result.FAIL
    assert other.evidence == "eth1 has 10.9.9.9, and not 10.0.0.2"


def test_an_interface_that_is_down_or_unnamed_is_told() -> None:
    down = judge_interface("vllm", CLUSTER, Interface("down"), is_ours=True)
    assert (down.result, down.fix) == (Result.FAIL, "ip link set eth1 up")
    unnamed = judge_interface("vllm", replace(CLUSTER, interface=None), None, is_ours=True)
    assert unnamed.result is Result.WARNING


def test_a_head_that_drops_connections_is_behind_a_firewall_or_away() -> None:
    silent = judge_door("vllm", CLUSTER, Door.SILENT)
    assert silent.result is Result.FAIL
    assert "10.0.0.1:29501 does not answer" in silent.evidence


def test_rdma_that_the_engine_cannot_use_is_told() -> None:
    assert judge_rdma(SERVICE, Rdma()).result is Result.SKIPPED
    assert judge_rdma(SERVICE, ACTIVE).result is Result.OK
    assert judge_rdma(SERVICE, replace(ACTIVE, devices=False)).fix == "modprobe ib_uverbs rdma_ucm"
    down = judge_rdma(SERVICE, Rdma((RdmaPort("mlx5_0/1", "DOWN"),), devices=True))
    assert "mlx5_0/1 DOWN" in down.evidence


def test_a_container_must_be_given_the_rdma_devices() -> None:
    image = EngineSettings(Runtime.PODMAN, image="x/y:v0.32.0")
    assert "extra_options" in judge_rdma(replace(SERVICE, engine=image), ACTIVE).fix
    given = replace(image, extra_options=("--device=/dev/infiniband",))
    assert judge_rdma(replace(SERVICE, engine=given), ACTIVE).result is Result.OK


def test_one_gpu_of_a_group_needs_locked_memory_as_several_of_one_host_do() -> None:
    limits = Limits(loaded=True, locked_bytes=65536, ceiling=1 << 20)
    assert "may lock 64 KiB" in judge_limits(SERVICE, limits).evidence
    alone = replace(SERVICE, cluster=None, tensor_parallel_size=1)
    assert judge_limits(alone, limits).result is Result.OK


def test_a_peer_that_is_silent_comes_before_clocks_that_differ() -> None:
    silent = PeerClock("gpu-b", "no answer in time")
    fast = PeerClock("gpu-c", ahead_seconds=90.0)
    both = judge_peers("vllm", [silent, fast])
    assert (both.result, both.evidence) == (
        Result.FAIL,
        "does not answer: gpu-b (no answer in time)",
    )
    assert judge_peers("vllm", [fast]).evidence == "clocks differ: gpu-c by +90 s"
