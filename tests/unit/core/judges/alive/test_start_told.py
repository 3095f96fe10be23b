# SPDX-License-Identifier: Apache-2.0
"""A start that ended well is told by stage, with what is usual and how long nothing was served."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from agent.core.diagnosis.facts import Facts
from agent.core.failures.classes import EnginePhase, FailureClass
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.stages.book import StagesSeen
from agent.core.stages.stage import Stage
from agent.core.state.host import Decision, News
from agent.core.state.observations import ConfigLoaded, LogProgress, Observation, Verified
from agent.core.state.phases import Phase
from agent.core.state.unit import Leftover
from tests.given.simulated_host import Run, SimulatedHost

F = FailureClass
WARM = {Stage.IMPORTS: 20.0, Stage.COMPILE: 8.0, Stage.SERVER: 12.0}
COLD = {**WARM, Stage.COMPILE: 30.0}


@dataclass
class Staged(SimulatedHost):
    """Tells the stages of each start with its last line, and what was compiled."""

    stages: dict[Stage, float] = field(default_factory=lambda: dict(WARM))
    facts: Facts = field(default_factory=Facts)
    first_token_seconds: float | None = None

    def observe(self, observation: Observation) -> Decision:
        """Adds to what verification tells how long the first request took."""
        if isinstance(observation, Verified) and observation.answered:
            observation = replace(observation, first_token_seconds=self.first_token_seconds)
        return super().observe(observation)

    def _see_log(self, service: str, run: Run, phase: EnginePhase) -> None:
        seen = StagesSeen(Stage.COMPILE, self.now, {Stage.IMPORTS: 20.0})
        if phase is EnginePhase.SERVING:
            seen = StagesSeen(None, self.now, dict(self.stages))
        at, activity = self.now, int(self.now)
        self.observe(
            LogProgress(at, service, run.invocation, phase, activity, None, self.facts, seen)
        )

    def told(self) -> News:
        return [line for line in self.history if line.kind in ("up", "back")][-1]

    def dies_and_is_back(self) -> News:
        self.pass_time(30)
        self.dies(F.ENGINE_DEAD)
        self.carry_out()
        assert self.serving_within(300)
        return self.told()


def host_of() -> Staged:
    recovery = Recovery(settle_seconds=20, backoff_min_seconds=2)
    host = Staged({"vllm": ServicePolicy(Settings("vllm", "/srv/m"), recovery=recovery)})
    host.agent_starts()
    host.carry_out()
    assert host.serving_within(200)
    return host


def test_a_first_start_is_told_by_stage() -> None:
    line = host_of().told()
    assert line.kind == "up"
    assert line.message == "started in 40 s (imports 20 s, compile 8 s, server 12 s)"
    assert line.data["stages"] == {"imports": 20.0, "compile": 8.0, "server": 12.0}


def test_the_first_token_is_the_last_stage_and_its_slowness_is_told() -> None:
    host = host_of()
    host.first_token_seconds = 2.0
    line = host.dies_and_is_back()
    assert line.data["stages"] == {
        "imports": 20.0,
        "compile": 8.0,
        "server": 12.0,
        "first-token": 2.0,
    }
    assert host.service().start_stage_seconds[Stage.FIRST_TOKEN] == 2.0
    host.first_token_seconds = 30.0
    assert "longer than usual (of that first-token" in host.dies_and_is_back().message


def test_what_a_start_took_from_an_earlier_one_is_told_as_far_as_vllm_says_it() -> None:
    host = host_of()
    assert host.told().data["reused"] == {}
    host.facts = Facts(aot_artifact="loaded", kernel_tuning="FlashInfer's, kept in a file")
    assert host.dies_and_is_back().data["reused"] == {
        "aot_artifact": "loaded",
        "kernel_tuning": "FlashInfer's, kept in a file",
    }


def test_a_start_of_which_no_stage_is_known_has_no_first_token_either() -> None:
    host = host_of()
    host.stages, host.first_token_seconds = {}, 2.0
    assert host.dies_and_is_back().data["stages"] == {}


def test_the_time_without_service_is_told_by_what_it_was_spent_on() -> None:
    line = host_of().dies_and_is_back()
    assert line.kind == "back"
    spent = line.data["outage"]
    assert isinstance(spent, dict)
    assert {"decide", "wait", "start", "verify"} <= spent.keys()
    assert spent["start"] >= 39
    assert line.message.startswith(f"back after {sum(spent.values()):.0f} s (start 40 s); start: ")


def test_a_wait_for_what_the_last_run_left_is_told_apart() -> None:
    host = host_of()
    host.pass_time(30)
    left = Leftover(4711, "VLLM::Worker")
    host.undead = True
    host.units["vllm"] = replace(host.units["vllm"], leftovers=(left,))
    host.dies(F.ENGINE_DEAD)
    host.carry_out()
    host.pass_time(9)
    host.units["vllm"] = replace(host.units["vllm"], leftovers=())
    host.see_units()
    host.carry_out()
    assert host.serving_within(300)
    spent = host.told().data["outage"]
    assert isinstance(spent, dict)
    assert spent["clear-memory"] >= 9


def test_a_start_longer_than_usual_says_which_stage_it_was_and_that_it_compiled_again() -> None:
    host = host_of()
    host.dies_and_is_back()
    host.stages, host.facts = dict(COLD), Facts(compiled_graphs="compiled")
    line = host.dies_and_is_back()
    assert "22 s longer than usual (of that compile 22 s)" in line.message
    assert "compiled again though nothing was changed, 30 s: the cache was not used" in line.message
    host.stages, host.facts = dict(WARM), Facts(compiled_graphs="from the cache")
    assert "longer" not in host.dies_and_is_back().message


def test_other_settings_have_another_usual() -> None:
    host = host_of()
    policy = host.policies["vllm"]
    host.policies["vllm"] = replace(policy, settings=replace(policy.settings, max_num_seqs=4))
    host.stages, host.facts = dict(COLD), Facts(compiled_graphs="compiled")
    host.observe(ConfigLoaded(host.now, reload=True))
    host.carry_out()
    assert host.serving_within(300)
    assert "longer" not in host.told().message
    assert "again though" not in host.told().message


def test_an_engine_that_hung_was_away_from_its_last_token_on() -> None:
    host = host_of()
    host.pass_time(400)
    host.hangs()
    host.pass_time(700)
    host.carry_out()
    assert host.serving_within(600)
    spent = host.told().data["outage"]
    assert isinstance(spent, dict)
    assert spent["detect"] > 60


def test_a_stop_of_the_operator_is_no_outage() -> None:
    host = host_of()
    host.pass_time(60)
    host.operator_stops()
    host.carry_out()
    assert host.service().phase is Phase.STOPPED
    host.pass_time(3600)
    host.operator_starts()
    host.carry_out()
    assert host.serving_within(300)
    assert host.told().kind == "up"


def test_a_new_agent_goes_on_counting() -> None:
    host = host_of()
    host.pass_time(60)
    host.dies(F.ENGINE_DEAD)
    host.carry_out()
    host.agent_starts()
    host.carry_out()
    assert host.serving_within(300)
    assert host.told().kind == "back"
    assert host.service().start_stage_seconds == WARM
    assert host.service().outage is None
