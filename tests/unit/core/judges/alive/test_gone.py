# SPDX-License-Identifier: Apache-2.0
"""What is left of a run whose engine is gone does not keep the next one waiting."""

from __future__ import annotations

from typing import Any

import pytest

from agent.core.diagnosis.facts import Facts
from agent.core.diagnosis.reader import LogReader
from agent.core.failures.classes import EnginePhase, FailureClass
from agent.core.settings.engine import EngineSettings, Runtime
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.actions import Action, EndRun
from agent.core.state.observations import LogProgress
from agent.core.state.phases import Phase
from agent.host.data.signatures import load_signatures
from tests.given.simulated_host import SimulatedHost

F = FailureClass
GONE = "[shutdown] MPClient: engine core exited unexpectedly; starting cleanup"
PODMAN = EngineSettings(runtime=Runtime.PODMAN, image="docker.io/vllm/vllm-openai:v0.32.0")


def serving(**asked: Any) -> tuple[SimulatedHost, list[Action]]:
    host = SimulatedHost({"vllm": ServicePolicy(Settings("vllm", "/srv/m", **asked))})
    done: list[Action] = []
    host.on_action = done.append
    host.agent_starts()
    host.carry_out()
    assert host.serving_within(200)
    return host, done


def says(host: SimulatedHost, facts: Facts) -> None:
    run = host.runs["vllm"]
    at = host.now
    host.observe(LogProgress(at, "vllm", run.invocation, EnginePhase.SERVING, 9, None, facts))


def ended(done: list[Action]) -> list[EndRun]:
    return [action for action in done if isinstance(action, EndRun)]


def test_it_is_killed_once_the_last_words_had_time_to_come() -> None:
    host, done = serving()
    host.runs["vllm"].hung = True
    says(host, Facts(engine_gone=True))
    host.carry_out()
    assert ended(done) == []
    host.pass_time(5)
    (action,) = ended(done)
    assert action.invocation_id == host.service().invocation_id
    host.dies(F.ENGINE_DEAD, result="signal", status=9)
    host.carry_out()
    assert host.serving_within(200)
    assert host.service().restarts == {F.ENGINE_DEAD: 1}
    assert len(ended(done)) == 1
    told = [line for line in host.history if line.kind == "back"][-1]
    assert told.data["outage"]["detect"] == 5.0  # type: ignore[index]


def test_an_engine_that_lives_is_left_alone() -> None:
    host, done = serving()
    says(host, Facts())
    host.pass_time(30)
    assert ended(done) == []


@pytest.mark.parametrize(
    "asked",
    [
        {"engine": PODMAN},
        {"extra_args": ("--enable-fault-tolerance",)},
        {"extra_args": ("--enable-elastic-ep",)},
    ],
    ids=["a container", "fault tolerance", "elastic EP"],
)
def test_who_ends_or_mends_it_is_not_overtaken(asked: dict[str, Any]) -> None:
    host, done = serving(**asked)
    host.runs["vllm"].hung = True
    says(host, Facts(engine_gone=True))
    host.pass_time(5)
    assert ended(done) == []
    assert host.service().phase is Phase.SERVING


def test_the_front_ends_own_line_tells_it_and_a_clients_words_do_not() -> None:
    reader = LogReader(load_signatures())
    before = "(APIServer pid=7) INFO 11-21 03:00:08"
    reader.feed(f"{before} [utils.py:233] non-default args: {{'model': 'm'}}")
    reader.feed("INFO:     Application startup complete.")
    reader.feed(f"{before} [logger.py:41] Received request c-1: prompt: '{GONE}', params: ...")
    assert reader.facts.engine_gone is None
    reader.feed(f"(APIServer pid=7) WARNING 11-21 03:05:08 [core_client.py:817] {GONE}")
    assert reader.facts.engine_gone is True
