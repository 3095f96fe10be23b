# SPDX-License-Identifier: Apache-2.0
"""What cannot be decided of one service holds that one, is told, and the others go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.gpu.reading import Driver, Gpu, GpuMemory, Gpus
from agent.core.guard import AGAIN_SECONDS, Guard, as_shown, guarded, place_of
from agent.core.planner.model import Model, model_of
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.actions import Start
from agent.core.state.host import Decision, HostState
from agent.core.state.observations import (
    AgentStarted,
    ConfigLoaded,
    GpusSeen,
    Observation,
    Tick,
    UnitSeen,
)
from agent.core.state.phases import Phase
from agent.core.state.policy import HostPolicy, KnownModel
from agent.core.state.service import ServiceState
from agent.core.state.unit import UnitFacts
from tests.given.simulated_host import ENGINE

GOOD = model_of(
    {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 2048,
        "num_attention_heads": 16,
        "num_hidden_layers": 16,
        "vocab_size": 32000,
        "intermediate_size": 8192,
        "num_key_value_heads": 8,
    }
)
POISON = replace(GOOD, hidden_size=10**200)
"""A model of which no plan can be made: as one whose numbers no reader has bounded."""
DOWN = UnitFacts("inactive", "dead")


def a_policy(models: Mapping[str, Model]) -> HostPolicy:
    services = {
        name: ServicePolicy(Settings(name=name, model=f"/m/{name}", port=8000 + number))
        for number, name in enumerate(models)
    }
    engines = dict.fromkeys(models, ENGINE)
    return HostPolicy(services, engines, {name: KnownModel(m) for name, m in models.items()})


def a_look(at: float) -> GpusSeen:
    card = Gpu(index=0, uuid="GPU-0", name="NVIDIA L4", memory=GpuMemory(24 << 30, 0, 24 << 30))
    return GpusSeen(at, Gpus(at, (card,), Driver()))


class Agent:
    """The deciding thread with its net."""

    def __init__(self, models: Mapping[str, Model]) -> None:
        self.policy = a_policy(models)
        self.state, self.guard = HostState(), Guard()
        self.told: list[str] = []
        self.started: list[str] = []

    def see(self, *observations: Observation) -> Decision:
        for seen in observations:
            decision, self.guard = guarded(self.state, seen, self.policy, self.guard)
            self.state = decision.state
            self.told += [f"{news.service}: {news.message}" for news in decision.news]
            self.started += [a.service for a in decision.actions if isinstance(a, Start)]
        return decision

    def begin(self) -> None:
        self.see(AgentStarted(0.0, "boot"), ConfigLoaded(0.0, reload=False), a_look(0.5))
        for name in self.policy.services:
            self.see(UnitSeen(1.0, name, DOWN))
        self.see(a_look(1.5), Tick(5.0), a_look(6.0), Tick(7.0))

    def shown(self, name: str) -> Phase:
        return as_shown(self.state, self.guard).services[name].phase


def test_a_poisoned_model_holds_its_own_service_and_the_other_starts() -> None:
    agent = Agent({"bad": POISON, "good": GOOD})
    agent.begin()
    assert "good" in agent.started
    assert "bad" not in agent.started
    assert agent.shown("bad") is Phase.HELD
    shown = as_shown(agent.state, agent.guard).services["bad"]
    assert "OverflowError in agent/core/planner/" in shown.reason
    assert shown.what_to_do
    held = [line for line in agent.told if line.startswith("bad: held")]
    assert len(held) == 1, held
    assert shown.reason in held[0]


UP = UnitFacts("active", "running", main_pid=7, invocation_id="run")
DIED = UnitFacts("activating", "auto-restart", result="exit-code", invocation_id="run")


@pytest.mark.parametrize("unit", [UP, DIED], ids=["starts", "is restarted by systemd"])
def test_no_other_starts_on_the_card_of_one_set_aside_that_may_be_starting(unit: UnitFacts) -> None:
    agent = Agent({"bad": POISON, "good": GOOD})
    agent.see(AgentStarted(0.0, "boot"), ConfigLoaded(0.0, reload=False), a_look(0.5))
    agent.see(UnitSeen(1.0, "bad", DOWN), a_look(1.5), Tick(2.0), a_look(2.5), Tick(3.0))
    assert "bad" in agent.guard.aside
    agent.see(UnitSeen(4.0, "bad", unit), UnitSeen(4.0, "good", DOWN))
    for at in range(5, 600, 5):
        agent.see(a_look(float(at)), Tick(at + 1.0), UnitSeen(at + 2.0, "bad", unit))
    assert agent.started == []
    waits = [line for line in agent.told if line.startswith("good: waits")]
    assert waits == [
        "good: waits: bad, about which llmagent cannot decide, may start on the same GPU"
    ]
    agent.see(UnitSeen(601.0, "bad", DOWN), a_look(602.0), Tick(603.0))
    assert agent.started == ["good"]


def test_another_starts_beside_one_set_aside_that_serves() -> None:
    agent = Agent({"bad": POISON, "good": GOOD})
    agent.begin()
    served = replace(agent.state.services["bad"], phase=Phase.SERVING, invocation_id="run")
    waits = ServiceState("good", Phase.WAITING)
    agent.state = replace(agent.state, services={"bad": served, "good": waits})
    agent.started.clear()
    agent.see(UnitSeen(10.0, "bad", UP), UnitSeen(10.0, "good", DOWN), a_look(11.0), Tick(12.0))
    assert agent.started == ["good"]
    again = replace(UP, invocation_id="another run")
    agent.state = replace(agent.state, services={"bad": served, "good": waits})
    agent.started.clear()
    agent.see(UnitSeen(13.0, "bad", again), UnitSeen(13.0, "good", DOWN), a_look(14.0), Tick(15.0))
    assert agent.started == [], "its run is another one: nobody has seen it serve"


def test_two_poisoned_models_hold_both_and_the_third_starts() -> None:
    agent = Agent({"a": POISON, "b": GOOD, "c": POISON})
    agent.begin()
    assert agent.started == ["b"]
    assert {agent.shown("a"), agent.shown("c")} == {Phase.HELD}


def test_what_is_set_aside_is_told_once_and_tried_again_after_a_while() -> None:
    agent = Agent({"bad": POISON, "good": GOOD})
    agent.begin()
    told = len(agent.told)
    for at in range(10, 1000, 10):
        agent.see(Tick(float(at)))
    assert not [line for line in agent.told[told:] if line.startswith("bad: held")]
    assert agent.guard.aside["bad"].tried_at >= 1000 - AGAIN_SECONDS - 10


def test_a_mended_model_is_decided_about_at_the_next_reload() -> None:
    agent = Agent({"bad": POISON, "good": GOOD})
    agent.begin()
    agent.policy = a_policy({"bad": GOOD, "good": GOOD})
    agent.see(ConfigLoaded(20.0, reload=True))
    assert "bad: llmagent can decide about this service again" in agent.told
    assert agent.shown("bad") is Phase.WAITING
    agent.see(a_look(21.0), Tick(22.0))


def test_a_service_that_is_no_longer_configured_is_not_kept_by_the_net() -> None:
    agent = Agent({"bad": POISON, "good": GOOD})
    agent.begin()
    agent.policy = a_policy({"good": GOOD})
    agent.see(ConfigLoaded(20.0, reload=True))
    assert set(agent.state.services) == {"good"}
    agent.see(Tick(21.0))
    assert not agent.guard.aside


def test_a_service_that_serves_is_left_serving_when_nothing_can_be_decided_of_it() -> None:
    agent = Agent({"bad": GOOD, "good": GOOD})
    agent.begin()
    running = UnitFacts("active", "running", main_pid=7, invocation_id="i1")
    agent.see(UnitSeen(8.0, "bad", running))
    broken = replace(running, cpu_seconds="none")  # type: ignore[arg-type]
    decision = agent.see(UnitSeen(9.0, "bad", replace(broken, active_state="active")))
    later = agent.see(UnitSeen(10.0, "bad", broken))
    assert agent.shown("bad") is Phase.HELD
    assert "bad" not in {getattr(a, "service", "") for a in decision.actions + later.actions}
    assert agent.state.services["bad"].invocation_id == "i1"


def test_an_observation_of_the_host_that_nothing_can_make_of_is_left_out_and_told_once() -> None:
    agent = Agent({"a": GOOD})
    agent.begin()
    before = agent.state
    poison: Any = GpusSeen(10.0, None)  # type: ignore[arg-type]
    agent.see(poison)
    agent.see(poison)
    assert agent.state == before
    told = [line for line in agent.told if "GpusSeen is left out" in line]
    assert len(told) == 1
    assert "AttributeError in agent/core/" in told[0]


ERRORS = (
    ValueError("line\nline\x1b[2J" + "x" * 10_000),
    RecursionError(),
    MemoryError(),
    OverflowError("int too large to convert to float"),
    UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_any_error_is_one_short_printable_sentence(error: Exception) -> None:
    said = place_of(error)
    assert said.startswith(type(error).__name__)
    assert said.isprintable()
    assert len(said) < 400


@given(
    st.lists(
        st.sampled_from(["tick", "bad", "good", "look", "config", "start"]), min_size=1, max_size=30
    )
)
def test_in_whatever_order_things_are_seen_nothing_is_raised_and_no_service_is_lost(
    order: list[str],
) -> None:
    agent = Agent({"bad": POISON, "good": GOOD})
    agent.begin()
    for number, what in enumerate(order):
        at = 20.0 + 40 * number
        seen: Mapping[str, Observation] = {
            "tick": Tick(at),
            "bad": UnitSeen(at, "bad", DOWN),
            "good": UnitSeen(at, "good", DOWN),
            "look": a_look(at),
            "config": ConfigLoaded(at, reload=True),
            "start": AgentStarted(at, "boot"),
        }
        agent.see(seen[what])
        assert set(agent.state.services) == {"bad", "good"}
    assert agent.shown("bad") is Phase.HELD or agent.state.services["bad"].planned is None
