# SPDX-License-Identifier: Apache-2.0
"""A data-parallel service: each engine is judged by itself, and one that is dead is the service's
death."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from agent.core.engine.metrics import Counters, EngineCounters, scan
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.actions import Action, Canary
from agent.core.state.observations import CanaryDone
from agent.core.state.phases import Phase
from tests.given.simulated_host import SimulatedHost

HOUR = 3600.0
R = Recovery()
Engines = Callable[[float], Mapping[str, EngineCounters]]


def summed(engines: Mapping[str, EngineCounters]) -> Counters:
    return Counters(
        running=sum(e.running for e in engines.values()),
        waiting=sum(e.waiting for e in engines.values()),
        generation_tokens=sum(sum(e.pulse) for e in engines.values()),
        engines=engines,
    )


def watched(
    engines: Engines, answers: Callable[[str], bool], hours: float = 2.0
) -> tuple[SimulatedHost, list[Canary]]:
    """Returns a host after some hours; `answers` tells which engine answers what is asked of it."""
    host = SimulatedHost({"vllm": ServicePolicy(Settings("vllm", "/srv/m", max_model_len=8192))})
    host.agent_starts()
    host.carry_out()
    assert host.serving_within(120)
    began, asked = host.now, []

    def take(action: Action) -> bool:
        if not isinstance(action, Canary):
            return False
        asked.append(action)
        missed = tuple(label for label in action.engines if not answers(label))
        done = CanaryDone(
            host.now, "vllm", action.invocation_id, not missed, 1.0, "no answer", missed=missed
        )
        host.observe(done)
        return True

    host.lose_actions = take
    host.load = lambda _work: summed(engines(host.now - began))
    end = host.now + hours * HOUR
    while host.now < end and host.service().phase is Phase.SERVING:
        host.pass_time(5, step=5)
    return host, asked


def test_an_engine_that_hangs_with_work_is_found_while_the_other_one_works() -> None:
    """Seen: engine 0 stands with 8 running and 300 waiting, engine 1 gives 900 tokens a second."""
    host, asked = watched(
        lambda t: {
            "0": EngineCounters(8, 300, (7.0,)),
            "1": EngineCounters(64, 0, (900.0 * t,)),
        },
        lambda label: label != "0",
    )
    assert {canary.engines for canary in asked} == {("0",)}
    (kill,) = [line.message for line in host.history if line.kind == "kill"]
    assert "engine 0: no token for" in kill
    assert host.service().restarts or host.service().asked is not None


def test_an_engine_that_hangs_without_work_is_found_while_the_other_one_works() -> None:
    """A balancer that counts what hangs as in flight gives it nothing more, and no metric moves."""
    host, _ = watched(
        lambda t: {"0": EngineCounters(64, 0, (900.0 * t,)), "1": EngineCounters(0, 0, (5.0,))},
        lambda label: label != "1",
    )
    (kill,) = [line.message for line in host.history if line.kind == "kill"]
    assert "engine 1: no token for" in kill


def test_engines_that_are_idle_or_busy_in_turn_are_left_alone() -> None:
    host, asked = watched(
        lambda t: {
            "0": EngineCounters(9, 0, (t if t % HOUR < 1800 else 1800.0 + t // HOUR,)),
            "1": EngineCounters(0, 0, (5.0,)),
        },
        lambda _label: True,
        hours=6,
    )
    assert host.service().phase is Phase.SERVING
    assert {label for canary in asked for label in canary.engines} == {"0", "1"}


def test_an_engine_is_named_by_its_place_behind_its_own_front_end() -> None:
    """With hybrid balancing a host has the engines 8 and 9, and vLLM calls them 0 and 1."""

    def engines(passed: float) -> Mapping[str, EngineCounters]:
        return {"8": EngineCounters(pulse=(passed,)), "9": EngineCounters(pulse=(0.0,))}

    _, asked = watched(engines, lambda _engine: True)
    assert {canary.engines for canary in asked} == {("9",)}
    assert {canary.first_engine for canary in asked} == {8}


def test_an_engine_whose_requests_another_one_answers_is_told_of_and_not_killed() -> None:
    """A release that knows no header for the rank lets any engine answer."""
    host, _ = watched(
        lambda t: {"0": EngineCounters(8, 0, (7.0,)), "1": EngineCounters(64, 0, (900.0 * t,))},
        lambda _label: True,
    )
    assert host.service().phase is Phase.SERVING
    assert host.service().live.unjudged == (
        "engine 0 stands still amid work, and another one answers its requests"
    )
    told = [line for line in host.history if line.kind == "hang-detection"]
    assert len(told) == 1


def test_each_engine_is_read_from_the_metrics_by_its_label() -> None:
    text = b"".join(
        b'vllm:%s{engine="%d",model_name="m"} %.1f\n' % (name, engine, value)
        for name, values in (
            (b"num_requests_running", (8, 0)),
            (b"num_requests_waiting", (300, 0)),
            (b"prompt_tokens_total", (100, 40)),
            (b"generation_tokens_total", (7, 9000)),
        )
        for engine, value in enumerate(values)
    )
    counters = scan(text)
    assert counters is not None
    assert (counters.running, counters.waiting) == (8, 300)
    assert counters.engines["0"].waiting == 300
    assert counters.engines["0"].pulse != counters.engines["1"].pulse
    one = scan(b'vllm:num_requests_running{engine="0"} 3.0\n')
    assert one is not None
    assert one.engines == {}


def test_an_engine_that_has_not_worked_yet_is_known_by_its_counters() -> None:
    """Seen: two API servers, as vLLM has them for two engines: no gauge of engine 1 at first."""
    text = (
        b'vllm:num_requests_running{engine="0",model_name="m"} 0.0\n'
        b'vllm:prompt_tokens_total{engine="0",model_name="m"} 12.0\n'
        b'vllm:prompt_tokens_total{engine="1",model_name="m"} 0.0\n'
        b'vllm:generation_tokens_total{engine="0",model_name="m"} 3.0\n'
        b'vllm:generation_tokens_total{engine="1",model_name="m"} 0.0\n'
    )
    counters = scan(text)
    assert counters is not None
    assert sorted(counters.engines) == ["0", "1"]
    assert (counters.engines["1"].running, counters.engines["1"].waiting) == (0, 0)
