# SPDX-License-Identifier: Apache-2.0
"""A command line that is one of several hosts' becomes a table with its place among them."""

import shlex
from typing import Any

import pytest

from agent.core.foreign.found import Found
from agent.core.foreign.table import Imported, table_of
from agent.core.foreign.unit import engine_of_words
from agent.tasks.foreign.accepted import accept

OTHERS = "the other hosts"


def imported(line: str, **environment: str) -> Imported:
    found = engine_of_words(Found("x", (), environment), tuple(shlex.split(line)), lambda _: None)
    taken = table_of(found)
    accept(taken)
    return taken


@pytest.mark.parametrize(
    ("line", "cluster", "names_all"),
    [
        (
            "vllm serve m -tp 16 --nnodes 2 --node-rank 0 --master-addr 10.0.0.1",
            {"nnodes": 2, "node_rank": 0, "master_addr": "10.0.0.1"},
            False,
        ),
        (
            "vllm serve m -tp 16 -n 2 -r 1 --master-addr 10.0.0.1 --master-port 5 --headless",
            {
                "peers": ["10.0.0.1"],
                "nnodes": 2,
                "node_rank": 1,
                "master_addr": "10.0.0.1",
                "master_port": 5,
            },
            True,
        ),
        (
            "vllm serve m -tp 8 -pp 3 --nnodes 3 --node-rank 2 --master-addr gpu-1 --headless",
            {
                "peers": ["gpu-1"],
                "nnodes": 3,
                "node_rank": 2,
                "master_addr": "gpu-1",
            },
            False,
        ),
        (
            "vllm serve m -dp 4 -dpl 2 --data-parallel-address 10.0.0.1 -dpp 13345",
            {
                "data_parallel_address": "10.0.0.1",
                "data_parallel_rpc_port": 13345,
                "data_parallel_size_local": 2,
            },
            False,
        ),
        (
            "vllm serve m --headless -dp 4 -dpl 2 -dpr 2 --data-parallel-address 10.0.0.1",
            {
                "peers": ["10.0.0.1"],
                "data_parallel_address": "10.0.0.1",
                "data_parallel_size_local": 2,
                "data_parallel_start_rank": 2,
            },
            False,
        ),
        (
            "vllm serve m --headless -dp 4 -dpl 4 --data-parallel-address 10.0.0.1",
            {
                "peers": ["10.0.0.1"],
                "data_parallel_address": "10.0.0.1",
                "data_parallel_size_local": 4,
                "headless": True,
            },
            False,
        ),
        (
            "vllm serve m -dp 4 -dpl 2 -dpr 2 --data-parallel-address h --data-parallel-hybrid-lb",
            {
                "peers": ["h"],
                "data_parallel_address": "h",
                "data_parallel_size_local": 2,
                "data_parallel_start_rank": 2,
                "data_parallel_hybrid_lb": True,
            },
            False,
        ),
    ],
)
def test_its_place_stands_in_the_cluster_table(
    line: str, cluster: dict[str, Any], names_all: bool
) -> None:
    taken = imported(line)
    assert taken.table["cluster"] == cluster
    assert "extra_args" not in taken.table
    assert (OTHERS not in [left.what for left in taken.left]) == names_all
    assert not any("headless" in left.what for left in taken.left)


def test_the_address_and_the_interface_come_from_the_environment() -> None:
    taken = imported(
        "vllm serve m -tp 2 --nnodes 2 --node-rank 1 --master-addr 10.0.0.1 --headless",
        VLLM_HOST_IP="10.0.0.2",
        GLOO_SOCKET_IFNAME="eth1",
        NCCL_SOCKET_IFNAME="eth1",
        NCCL_DEBUG="INFO",
    )
    assert taken.table["cluster"]["host_ip"] == "10.0.0.2"
    assert taken.table["cluster"]["interface"] == "eth1"
    assert taken.table["environment"] == {"NCCL_DEBUG": "INFO"}


def test_a_pattern_of_interfaces_stays_a_variable() -> None:
    taken = imported(
        "vllm serve m -tp 2 --nnodes 2 --node-rank 0 --master-addr 10.0.0.1",
        NCCL_SOCKET_IFNAME="^docker,lo",
    )
    assert "interface" not in taken.table["cluster"]
    assert taken.table["environment"] == {"NCCL_SOCKET_IFNAME": "^docker,lo"}


@pytest.mark.parametrize(
    "line",
    [
        "vllm serve m -dp 2 --data-parallel-size-local 2",
        "vllm serve m -dp 2 --data-parallel-address 127.0.0.1 --data-parallel-rpc-port 13345",
        "vllm serve m --nnodes 1 --master-port 29555",
    ],
)
def test_one_host_alone_has_no_cluster(line: str) -> None:
    taken = imported(line)
    assert "cluster" not in taken.table
    assert taken.table["extra_args"]
