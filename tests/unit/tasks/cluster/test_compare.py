# SPDX-License-Identifier: Apache-2.0
"""What must be alike on all hosts is compared through the peers' real exporters."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agent.core.cluster.lessons import Lesson
from agent.core.cluster.member import Generation, Member, Stance
from agent.core.cluster.same import power_of, same_of
from agent.core.engine.install import Engine
from agent.core.settings.cluster import ClusterSettings
from agent.core.settings.config import Config, Metrics
from agent.core.settings.gpus import Power
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.view.snapshot import Snapshot
from agent.tasks.check_config import check_config
from agent.tasks.cluster.compare import Found, compared_with_peers
from agent.tasks.cluster.examine import examine_cluster
from tests.given.cluster.two_hosts import of_two_here
from tests.unit.daemon.sources.words import exporting, told

ENGINE = Engine("0.32.0", has_vllm_metadata=True, flags=None, torch="2.13.0")
CLUSTER = of_two_here(0)
HERE = Settings("vllm", "/srv/m", tensor_parallel_size=2, cluster=CLUSTER)
SAME = same_of(HERE, "0.32.0", "2.13.0")
POWER = Power()
PEER = Member(1, Generation(3, 0), Stance.READY, same={**SAME, **power_of(POWER)})


def found(
    word: Member,
    here: Settings = HERE,
    engine: Engine = ENGINE,
    recovery: Recovery | None = None,
    power: Power = POWER,
) -> list[Found]:
    with exporting(told(word)) as address:
        assert here.cluster is not None
        settings = replace(here, cluster=replace(here.cluster, peers=(address,)))
        return list(compared_with_peers(settings, recovery or Recovery(), engine, power))


def sentences(*args: object, **more: object) -> str:
    return " | ".join(text for _, _, text in found(*args, **more))  # type: ignore[arg-type]


def test_hosts_that_are_alike_have_nothing_to_say() -> None:
    assert found(PEER) == []


def test_what_differs_is_named_with_both_values() -> None:
    said = sentences(PEER, engine=replace(ENGINE, version="0.33.0", torch="2.14.0"))
    assert "vLLM is 0.33.0 here and 0.32.0 on" in said
    assert "torch is 2.14.0 here and 2.13.0 on" in said
    assert "max_model_len is 4096 here and default on" in sentences(
        PEER, replace(HERE, max_model_len=4096)
    )


def test_of_what_may_hold_a_secret_only_that_it_differs_is_said() -> None:
    said = sentences(PEER, replace(HERE, extra_args=("--seed", "12345")))
    assert "extra_args is 2 words" in said
    assert "12345" not in said


def test_what_another_host_has_learned_is_no_difference() -> None:
    learned = {"max_num_seqs": Lesson(16, 1, 1, "it failed with more")}
    running = same_of(replace(HERE, max_num_seqs=16), "0.32.0", "2.13.0")
    word = replace(PEER, lessons=learned, same=running)
    assert found(word, replace(HERE, max_num_seqs=64)) == []
    beyond = sentences(word, replace(HERE, max_num_seqs=64), recovery=Recovery(min_max_num_seqs=32))
    assert "has learned max_num_seqs = 16, and recovery here does not go so far" in beyond


def test_cards_that_are_held_to_another_limit_are_named_and_keep_nobody_waiting() -> None:
    said = found(PEER, power=Power(limit_watts=300.0))
    assert [certain for _, certain, _ in said] == [False]
    assert "[power] is 300 W here and the card's own on" in said[0][2]


def test_two_hosts_of_one_rank_and_a_group_without_a_head_cannot_start() -> None:
    assert "is member 0, as this host is" in sentences(replace(PEER, member=0))
    follower = replace(HERE, cluster=replace(CLUSTER, node_rank=1))
    assert "no host is the head" in sentences(replace(PEER, member=2), follower)
    assert all(certain for _, certain, _ in found(replace(PEER, member=2), follower))


def test_a_peer_that_is_away_is_a_warning() -> None:
    said = list(compared_with_peers(HERE, Recovery(), ENGINE, Power()))
    assert [(key, certain) for key, certain, _ in said] == [("cluster.peers", False)]
    assert said[0][2].startswith("http://127.0.0.1:1: ")


def test_a_password_that_is_not_there_is_named_and_nobody_is_asked() -> None:
    cluster = replace(CLUSTER, user="peer", password_file="/nowhere/password")
    told = compared_with_peers(replace(HERE, cluster=cluster), Recovery(), ENGINE, Power())
    said = {key: certain for key, certain, _ in told}
    assert said == {"cluster.password_file": True, "cluster.peers": False}


def test_a_model_of_the_hub_without_a_commit_may_differ_between_hosts() -> None:
    said = sentences(replace(PEER, same={}), replace(HERE, model="org/name"))
    assert "give all the same commit" in said


LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 256,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "intermediate_size": 512,
    "vocab_size": 512,
}
MIXTRAL = {
    **LLAMA,
    "architectures": ["MixtralForCausalLM"],
    "model_type": "mixtral",
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
}


@pytest.mark.parametrize(
    ("config", "version", "extra_args", "refused"),
    [
        (LLAMA, "0.24.0", (), True),
        (LLAMA, "0.33.0", (), True),
        (LLAMA, "0.23.0", (), False),
        (MIXTRAL, "0.33.0", (), False),
        (LLAMA, "0.33.0", ("--hf-overrides", '{"num_local_experts": 4}'), False),
        ({}, "0.33.0", (), False),
    ],
)
def test_an_address_a_replica_is_refused_for_a_model_without_experts(
    tmp_path: Path,
    config: dict[str, object],
    version: str,
    extra_args: tuple[str, ...],
    refused: bool,
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    cluster = ClusterSettings(
        CLUSTER.peers, "127.0.0.1", data_parallel_address="127.0.0.1", data_parallel_rank=0
    )
    here = Settings(
        "vllm", str(tmp_path), data_parallel_size=2, extra_args=extra_args, cluster=cluster
    )
    engine = replace(ENGINE, version=version)
    said = {
        key: certain for key, certain, _ in compared_with_peers(here, Recovery(), engine, POWER)
    }
    assert said.get("cluster.data_parallel_rank", False) is refused


def test_a_service_of_one_host_asks_nobody() -> None:
    assert list(compared_with_peers(replace(HERE, cluster=None), Recovery(), ENGINE, Power())) == []


def examined(at: float, cluster: ClusterSettings = CLUSTER) -> dict[str, str]:
    word: Snapshot = replace(told(PEER), at_seconds=at)
    with exporting(word) as address:
        settings = replace(HERE, cluster=replace(cluster, peers=(address,)))
        return {f.check: f"{f.result} {f.evidence}" for f in examine_cluster(settings)}


def test_the_doctor_looks_at_interface_port_peers_and_clocks() -> None:
    well = examined(time.time())
    assert well["cluster-interface"].startswith("ok lo is ")
    assert well["cluster-port"].startswith("skipped")
    assert well["cluster-peers"].startswith("ok ")
    assert "cluster-rdma" in well


def test_the_doctor_names_a_clock_that_is_another() -> None:
    assert "by -3600 s" in examined(time.time() - 3600.0)["cluster-peers"]


def test_the_doctor_says_what_a_follower_finds_at_the_head() -> None:
    closed = replace(CLUSTER, node_rank=1, master_port=1)
    assert "127.0.0.1:1 is reached; no engine listens" in examined(1.0, closed)["cluster-port"]


def test_the_doctor_knows_an_address_and_an_interface_that_are_not_there() -> None:
    other = examined(1.0, replace(CLUSTER, host_ip="192.0.2.1"))
    assert other["cluster-interface"].startswith("fail no interface of this host has")
    named = examined(1.0, replace(CLUSTER, interface="nope0"))
    assert named["cluster-interface"] == "fail there is no interface nope0"


def test_an_exporter_that_no_peer_reaches_is_a_warning() -> None:
    policy = ServicePolicy(HERE)
    alone = check_config(Config({"vllm": policy}), run_engine_help=None)
    said = [found for found in alone if found.path == "metrics.listen"]
    assert len(said) == 1
    assert "give an address that they reach, as 127.0.0.1:9836" in said[0].text
    reached = Config({"vllm": policy}, metrics=Metrics(address="10.0.0.1"))
    others = check_config(reached, run_engine_help=None)
    assert not [found for found in others if "ask here" in found.text]


@pytest.mark.parametrize(
    "words",
    [
        ("--nnodes", "2", "--node-rank", "0", "--master-addr", "10.0.0.1"),
        ("--data-parallel-address=10.0.0.1", "--data-parallel-size-local=1"),
    ],
)
def test_hosts_that_come_together_without_a_table_are_a_warning(words: tuple[str, ...]) -> None:
    size = 2 if "data" in words[0] else None
    bare = replace(HERE, cluster=None, extra_args=words, data_parallel_size=size)
    said = check_config(Config({"vllm": ServicePolicy(bare)}), run_engine_help=None)
    assert [found for found in said if "write [service.NAME.cluster]" in found.text]
    alone = replace(bare, extra_args=())
    said = check_config(Config({"vllm": ServicePolicy(alone)}), run_engine_help=None)
    assert not [found for found in said if "write [service.NAME.cluster]" in found.text]
