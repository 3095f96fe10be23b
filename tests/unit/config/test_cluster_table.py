# SPDX-License-Identifier: Apache-2.0
"""[service.NAME.cluster]: one service over several hosts."""

from __future__ import annotations

import pytest

from agent.config.agent_toml import parse
from agent.core.settings.changes import changes, restart_needed
from agent.core.settings.cluster import ClusterSettings
from agent.core.settings.service import Settings
from agent.errors import ConfigError

HEAD = {
    "peers": '["10.0.0.2"]',
    "nnodes": "2",
    "node_rank": "0",
    "master_addr": '"10.0.0.1"',
}
FOLLOWER = {**HEAD, "node_rank": "1", "host_ip": '"10.0.0.2"', "peers": '["10.0.0.1"]'}
REPLICAS = {
    "peers": '["10.0.0.2"]',
    "data_parallel_address": '"10.0.0.1"',
    "data_parallel_size_local": "1",
}
TENSOR = "tensor_parallel_size = 2"
DATA = "data_parallel_size = 2"


def toml(cluster: dict[str, str], *lines: str) -> str:
    table = "\n".join(f"{key} = {value}" for key, value in cluster.items())
    own = "\n".join(lines)
    return f'[service.vllm]\nmodel = "org/name"\n{own}\n[service.vllm.cluster]\n{table}\n'


def settings(cluster: dict[str, str], *lines: str) -> Settings:
    return parse(toml(cluster, *lines), "agent.toml").services["vllm"].settings


def place(cluster: dict[str, str], *lines: str) -> ClusterSettings:
    found = settings(cluster, *lines).cluster
    assert found is not None
    return found


def mistakes(cluster: dict[str, str], *lines: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(toml(cluster, *lines), "agent.toml")
    return caught.value.mistakes


def without(cluster: dict[str, str], *names: str) -> dict[str, str]:
    return {key: value for key, value in cluster.items() if key not in names}


def test_the_head_of_two_nodes_takes_the_requests() -> None:
    head = place(HEAD, TENSOR)
    assert (head.is_head, head.headless, head.member, head.size) == (True, False, 0, 2)
    assert head.host_ip == "10.0.0.1"
    assert (head.meeting_address, head.meeting_port) == ("10.0.0.1", 29501)


def test_the_other_node_only_computes() -> None:
    follower = place(FOLLOWER, TENSOR)
    assert (follower.is_head, follower.headless, follower.member) == (False, True, 1)
    assert follower.options["headless"] is True


def test_three_nodes_may_share_a_model_as_a_pipeline() -> None:
    three = {**FOLLOWER, "nnodes": "3", "node_rank": "2", "peers": '["10.0.0.1", "gpu-b"]'}
    last = place(three, "pipeline_parallel_size = 3")
    assert (last.size, last.member, last.headless) == (3, 2, True)


def test_a_peer_is_asked_at_the_exporters_port_unless_it_says_another() -> None:
    several = {**REPLICAS, "peers": '["gpu-b", "https://gpu-c:443", "[fd00::2]"]'}
    assert place(several, "data_parallel_size = 4").peers == (
        "http://gpu-b:9836",
        "https://gpu-c:443",
        "http://[fd00::2]:9836",
    )


def test_replicas_on_several_hosts_each_have_a_number_of_their_own() -> None:
    head = place(REPLICAS, DATA)
    second = {**REPLICAS, "data_parallel_start_rank": "1", "host_ip": '"10.0.0.2"'}
    other = place(second, DATA)
    assert (head.member, head.headless) == (0, False)
    assert (other.member, other.headless) == (2, True)


def test_the_host_of_the_first_rank_beside_a_head_that_only_takes_requests_is_headless() -> None:
    head = place({**REPLICAS, "data_parallel_size_local": "0"}, DATA)
    beside = {**REPLICAS, "headless": "true", "host_ip": '"10.0.0.2"'}
    other = place({**beside, "data_parallel_size_local": "2"}, DATA)
    assert (head.member, head.is_head) == (0, True)
    assert (other.member, other.headless) == (1, True)


@pytest.mark.parametrize("key", ["data_parallel_hybrid_lb", "data_parallel_rank"])
def test_hosts_that_take_requests_themselves_are_not_headless(key: str) -> None:
    cluster = {**REPLICAS, "host_ip": '"10.0.0.2"'}
    if key == "data_parallel_rank":
        cluster = {**without(cluster, "data_parallel_size_local"), key: "1"}
    else:
        cluster |= {key: "true", "data_parallel_start_rank": "1"}
    assert (place(cluster, DATA).member, place(cluster, DATA).headless) == (1, False)


@pytest.mark.parametrize(
    ("cluster", "lines", "said"),
    [
        ({}, (), "cluster.peers: missing"),
        (without(HEAD, "peers"), (TENSOR,), "cluster.peers: missing"),
        (without(HEAD, "nnodes", "master_addr"), (), "says not how the hosts share the model"),
        (without(HEAD, "node_rank"), (TENSOR,), "cluster.node_rank: missing"),
        (without(HEAD, "master_addr"), (TENSOR,), "cluster.master_addr: missing"),
        (without(FOLLOWER, "host_ip"), (TENSOR,), "cluster.host_ip: missing"),
        ({**HEAD, "master_addr": '"gpu-a"'}, (TENSOR,), "cluster.host_ip: missing"),
        ({**HEAD, "master_addr": '"127.0.0.1"'}, (TENSOR,), "no address that other hosts reach"),
        ({**FOLLOWER, "node_rank": "2"}, (TENSOR,), "must be below nnodes, 2"),
        ({**HEAD, "nnodes": "3"}, ("tensor_parallel_size = 3",), "nnodes = 3 has 2 other hosts"),
        (HEAD, ("tensor_parallel_size = 3",), "cannot share tensor x pipeline = 3 GPUs evenly"),
        ({**HEAD, "peers": '["10.0.0.2", "10.0.0.2"]'}, (TENSOR,), "is named twice"),
        ({**HEAD, "peers": '["http://u:p@10.0.0.2"]'}, (TENSOR,), "holds no password"),
        ({**HEAD, "peers": '["http://u:p@10.0.0.2/x"]'}, (TENSOR,), "holds no password"),
        ({**HEAD, "peers": '["10.0.0.2/x"]'}, (TENSOR,), "is no host"),
        ({**HEAD, "peers": "[]"}, (TENSOR,), "is not a list of hosts"),
        ({**HEAD, "interface": '"eth 0"'}, (TENSOR,), "is not the name of an interface"),
        ({**HEAD, "host_ip": '"gpu-a"'}, (TENSOR,), "is not an IP address"),
        ({**HEAD, "nodes": "2"}, (TENSOR,), "did you mean nnodes?"),
        ({**HEAD, "headless": "true"}, (TENSOR,), "the head takes the requests"),
        ({**FOLLOWER, "headless": "false"}, (TENSOR,), "only node_rank 0 takes requests"),
        ({**HEAD, "password_file": '"/etc/x"'}, (TENSOR,), "is for a user"),
        (REPLICAS, (), "data_parallel_size: missing"),
        (without(REPLICAS, "data_parallel_size_local"), (DATA,), "size_local: missing"),
        ({**REPLICAS, "data_parallel_size_local": "3"}, (DATA,), "too many"),
        ({**REPLICAS, "node_rank": "0"}, (DATA,), "means nothing without nnodes"),
        ({**HEAD, "data_parallel_start_rank": "0"}, (TENSOR,), "without data_parallel_address"),
        (HEAD, (TENSOR, 'extra_args = ["--nnodes", "2"]'), "has a key of its own here"),
        ({**HEAD, "user": '"a:b"'}, (TENSOR,), "holds a colon"),
        (
            {**HEAD, "data_parallel_address": '"10.0.0.1"', "data_parallel_hybrid_lb": "true"},
            (DATA, TENSOR),
            "cluster.data_parallel_hybrid_lb: gives each host an address of its own",
        ),
        (
            {**REPLICAS, "data_parallel_start_rank": "1", "headless": "false"},
            (DATA,),
            "takes requests with data_parallel_hybrid_lb alone",
        ),
        (
            {
                **REPLICAS,
                "data_parallel_start_rank": "1",
                "data_parallel_hybrid_lb": "true",
                "headless": "true",
            },
            (DATA,),
            "with data_parallel_hybrid_lb each host takes requests",
        ),
        (HEAD, (TENSOR, 'extra_args = ["--headless"]'), "vLLM would open no port"),
    ],
)
def test_what_is_wrong_with_it_is_said(
    cluster: dict[str, str], lines: tuple[str, ...], said: str
) -> None:
    assert any(said in mistake for mistake in mistakes(cluster, *lines)), mistakes(cluster, *lines)


def test_without_a_cluster_headless_stays_refused() -> None:
    with pytest.raises(ConfigError, match="vLLM would open no port"):
        parse('[service.vllm]\nmodel = "a/b"\nextra_args = ["--headless"]\n', "agent.toml")


def test_peers_that_move_cost_no_restart_but_are_told() -> None:
    before = parse(toml(HEAD, TENSOR), "agent.toml")
    after = parse(toml({**HEAD, "peers": '["10.0.0.9"]'}, TENSOR), "agent.toml")
    old, new = before.services["vllm"].settings, after.services["vllm"].settings
    assert restart_needed(old, new) == ()
    assert changes(before, after) == (
        "service.vllm.cluster.peers: [http://10.0.0.2:9836] -> [http://10.0.0.9:9836] (at once)",
    )


def test_another_place_in_the_group_is_a_restart() -> None:
    old, new = settings(HEAD, TENSOR), settings({**HEAD, "master_port": "29600"}, TENSOR)
    assert restart_needed(old, new) == ("cluster",)


def test_a_host_that_takes_no_requests_needs_no_port_of_its_own() -> None:
    both = toml(FOLLOWER, TENSOR, "gpus = [0]") + '[service.embed]\nmodel = "a/b"\ngpus = [1]\n'
    assert set(parse(both, "agent.toml").services) == {"vllm", "embed"}
    with pytest.raises(ConfigError, match="8000 is taken"):
        parse(both.replace("node_rank = 1", "node_rank = 0"), "agent.toml")
