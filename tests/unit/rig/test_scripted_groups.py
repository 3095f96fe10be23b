# SPDX-License-Identifier: Apache-2.0
"""The scripted engine on two nodes does what vLLM 0.32 was seen to do on two machines."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable

import pytest
import requests

from tests.given.steering.sinks import free_port
from tests.unit.rig.test_scripted_engine import Engine, Run, engine, eventually

__all__ = ["engine"]


def split() -> tuple[list[str], list[str]]:
    """Returns what the head and the other node of one split model are asked with."""
    port = str(free_port())
    both = ["--nnodes=2", "--master-addr=127.0.0.1", "--master-port", port]
    both += ["--tensor-parallel-size=2"]
    return [*both, "--node-rank=0"], [*both, "--node-rank=1", "--headless"]


def replicas() -> tuple[list[str], list[str]]:
    """Returns the same for two replicas behind one front end."""
    port = str(free_port())
    both = ["--data-parallel-size=2", "--data-parallel-size-local=1"]
    both += ["--data-parallel-address=127.0.0.1", "--data-parallel-rpc-port", port]
    return both, [*both, "--headless", "--data-parallel-start-rank=1"]


def hybrid() -> tuple[list[str], list[str]]:
    """Returns the same for two nodes of two replicas each that both take requests."""
    port = str(free_port())
    both = ["--data-parallel-size=4", "--data-parallel-size-local=2", "--data-parallel-hybrid-lb"]
    both += ["--data-parallel-address=127.0.0.1", "--data-parallel-rpc-port", port]
    return both, [*both, "--data-parallel-start-rank=2"]


def silent(follower: Run) -> bool:
    """Tells whether a head's end moves nothing: it lives, and says no more."""
    said = follower.output
    with pytest.raises(subprocess.TimeoutExpired):
        follower.process.wait(0.5)
    return follower.output == said


def answers(head: Run, timeout: float = 5) -> int:
    """Returns the status of a completion; 0 when none came in time."""
    body = {"prompt": "hello", "max_tokens": 1}
    try:
        return requests.post(head.url("/v1/completions"), json=body, timeout=timeout).status_code
    except requests.RequestException:
        return 0


def test_nodes_wait_for_each_other_and_a_headless_one_says_little(engine: Engine) -> None:
    for kind in (split, replicas):
        head_flags, other_flags = kind()
        head = engine({}, *head_flags)
        other = engine({}, *other_flags)
        head.ready()
        assert answers(head) == 200
        for word in ("non-default args", "version 0.32.0", "Route: /health", "startup complete"):
            assert word not in other.output
        assert "Model loading took" in other.output
        assert ("V1 LLM engine (v0.32.0) with config" in other.output) == (split is not kind)
        assert other.health() == 0


def test_a_lone_head_waits_and_never_listens(engine: Engine) -> None:
    head = engine({}, *split()[0])
    eventually(lambda: "Initializing a V1 LLM engine" in head.output)
    assert head.health() == 0
    assert head.process.poll() is None


def test_a_killed_worker_elsewhere_is_told_there_and_only_a_request_shows_it_here(
    engine: Engine,
) -> None:
    flags = split()
    head, other = engine({}, *flags[0]), engine({}, *flags[1])
    head.ready()
    os.kill(other.child("VLLM::Worker_TP1"), signal.SIGKILL)
    assert other.ended() == 0
    assert "Worker proc VllmWorker-1 died unexpectedly (exit code: -9)" in other.output
    assert head.health() == 200
    assert "ERROR" not in head.output
    assert answers(head) == 500
    assert head.ended() == 0
    assert "Connection closed by peer [127.0.0.1]" in head.output


def test_a_killed_engine_core_elsewhere_swallows_requests_behind_a_green_health(
    engine: Engine,
) -> None:
    flags = replicas()
    head, other = engine({}, *flags[0]), engine({}, *flags[1])
    head.ready()
    os.kill(other.child("VLLM::EngineCore_DP1"), signal.SIGKILL)
    assert other.ended() == 0
    assert "ERROR" not in other.output
    assert "Shutting down." in other.output
    given = [answers(head, timeout=0.5) for _ in range(4)]
    assert sorted(given) == [0, 200, 200, 200], "the rank that is gone looks busy from then on"
    assert head.health() == 200
    assert "ERROR" not in head.output


@pytest.mark.parametrize("kind", [split, replicas])
def test_a_headless_node_outlives_its_head_in_silence_and_is_of_no_use_to_the_next(
    engine: Engine, kind: Callable[[], tuple[list[str], list[str]]]
) -> None:
    flags = kind()
    head, other = engine({}, *flags[0]), engine({}, *flags[1])
    head.ready()
    os.kill(head.child("VLLM::EngineCore"), signal.SIGKILL)
    head.process.kill()
    assert silent(other)
    again = engine({}, *flags[0])
    assert silent(other)
    assert again.health() == 0
    other.process.terminate()
    assert other.ended() == 0
    engine({}, *flags[1])
    assert again.ready().health() == 200


def test_with_hybrid_balancing_nodes_start_together_and_each_answers_for_its_own(
    engine: Engine,
) -> None:
    flags = hybrid()
    head = engine({}, *flags[0])
    eventually(lambda: "Initializing a V1 LLM engine" in head.output)
    assert head.health() == 0
    other = engine({}, *flags[1])
    for node in (head, other):
        node.ready()
        assert answers(node) == 200
        named = requests.get(node.url("/metrics"), timeout=5).text
        assert 'engine="1"' in named
        assert 'engine="2"' not in named, "counted from the first of its own"
    os.kill(other.child("VLLM::EngineCore"), signal.SIGKILL)
    assert other.ended() == 0
    assert answers(head) == 200
    again = engine({}, *flags[1])
    eventually(lambda: "Initializing a V1 LLM engine" in again.output)
    assert silent(again), "it comes alone, and is not taken in"


def test_a_second_headless_node_is_not_taken_in(engine: Engine) -> None:
    flags = split()
    head, other = engine({}, *flags[0]), engine({}, *flags[1])
    head.ready()
    os.kill(other.child("VLLM::Worker_TP1"), signal.SIGKILL)
    other.ended()
    second = engine({}, *flags[1])
    eventually(lambda: "Launching vLLM" in second.output)
    assert silent(second)
