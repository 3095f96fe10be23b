# SPDX-License-Identifier: Apache-2.0
"""All ranks of a group live and die together."""

from __future__ import annotations

from agent.core.failures.classes import FailureClass
from agent.core.state.phases import Phase
from tests.unit.core.judges.group.hosts import Hosts


def served(size: int = 2) -> Hosts:
    hosts = Hosts(size)
    assert hosts.all_serve_within(120.0), hosts.phases
    return hosts


def test_all_start_together_and_the_rest_serves_as_soon_as_the_head_does() -> None:
    hosts = served(3)
    assert hosts.starts == [1, 1, 1]
    assert len({host.generation for host in hosts.hosts}) == 1


def test_nobody_starts_before_the_last_host_is_there() -> None:
    hosts = Hosts(2)
    hosts.power_off(1)
    hosts.pass_time(300.0)
    assert hosts.starts == [0, 0]
    assert "waits for gpu-1" in hosts.head.state.services["vllm"].live.blocked_by
    hosts.power_on(1)
    assert hosts.all_serve_within(120.0)


def test_a_rank_that_dies_takes_all_down_and_all_come_back_together() -> None:
    hosts = served(3)
    hosts.hosts[1].dies(FailureClass.WORKER_DIED)
    hosts.pass_time(20.0)
    assert hosts.starts == [2, 2, 2]
    assert hosts.all_serve_within(120.0)
    assert hosts.head.state.services["vllm"].failure is None


def test_the_heads_history_names_the_host_that_failed_and_why() -> None:
    hosts = served()
    hosts.hosts[1].dies(FailureClass.WORKER_DIED)
    hosts.pass_time(20.0)
    assert any("gpu-1 says: worker-died" in line for line in hosts.head.told("generation"))


def test_a_head_that_dies_takes_its_silent_ranks_down() -> None:
    hosts = served()
    hosts.head.dies(FailureClass.CUDA_ILLEGAL_MEMORY_ACCESS)
    hosts.pass_time(20.0)
    assert hosts.hosts[1].phase is not Phase.SERVING
    assert hosts.all_serve_within(120.0)
    assert hosts.starts == [2, 2]
