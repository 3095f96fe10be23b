# SPDX-License-Identifier: Apache-2.0
"""Several services on one card are summed, and what strangers hold is not there to be asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.core.diagnosis.numbers import Numbers
from agent.core.engine.install import Engine
from agent.core.failures.classes import FailureClass
from agent.core.gpu.reading import Gpu, GpuProcess, Gpus
from agent.core.judges.holders.shares import in_host_memory, neighbours_of, room_of
from agent.core.judges.turn import Turn
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.host import HostState
from agent.core.state.observations import GpusSeen
from agent.core.state.phases import Phase
from agent.core.state.policy import HostPolicy
from agent.core.state.service import ServiceState
from tests.given.simulated_engine import Card
from tests.given.simulated_host import SimulatedHost
from tests.given.some_gpus import GB10, GIB, H200

F = FailureClass
ENGINE = Engine("0.32.0", has_vllm_metadata=True, flags=None)


def turn_of(*asked: Settings, gpus: tuple[Gpu, ...] | None = None) -> Turn:
    policies = {settings.name: ServicePolicy(settings) for settings in asked}
    services = {name: ServiceState(name) for name in policies}
    seen = None if gpus is None else Gpus(0.0, gpus)
    state = HostState(services=services, gpus=seen)
    return Turn(state, HostPolicy(policies, dict.fromkeys(policies, ENGINE)), 0.0)


def service(name: str, share: float | None = None, **settings: Any) -> Settings:
    return Settings(name, "/srv/m", gpu_memory_utilization=share, **settings)


@pytest.mark.parametrize(
    ("mine", "others", "expected"),
    [
        (("0",), {"b": ("0",), "c": ("1",)}, {"b": 0.3}),
        (("0", "1"), {"b": ("0",), "c": ("1",)}, {"b": 0.3}),
        (("all",), {"b": ("0",), "c": ("0",)}, {"b": 0.3, "c": 0.2}),
        (("2",), {"b": ("all",), "c": ("1",)}, {"b": 0.3}),
        (("GPU-aa",), {"b": ("0",), "c": ("1",)}, {}),
        (("all",), {"b": ("all",), "c": ("1",)}, {"b": 0.3, "c": 0.2}),
    ],
)
def test_neighbours_are_those_on_the_fullest_card(
    mine: tuple[str, ...], others: dict[str, tuple[str, ...]], expected: dict[str, float]
) -> None:
    shares = {"b": 0.3, "c": 0.2}
    asked = [service(name, shares[name], gpus=gpus) for name, gpus in others.items()]
    turn = turn_of(service("a", 0.4, gpus=mine), *asked)
    assert dict(neighbours_of(turn, turn.services["a"])) == expected


def test_nvml_tells_which_index_is_which_card() -> None:
    asked = service("a", 0.4, gpus=("GPU-aa",)), service("b", 0.3, gpus=("0",))
    turn = turn_of(*asked, gpus=(H200, GB10))
    assert dict(neighbours_of(turn, turn.services["a"])) == {"b": 0.3}


def test_a_service_that_asks_for_nothing_takes_vllms_default() -> None:
    turn = turn_of(service("a", 0.05), service("b"))
    assert dict(neighbours_of(turn, turn.services["a"])) == {"b": 0.92}


def test_a_stranger_on_the_card_leaves_less_room() -> None:
    turn = turn_of(service("vllm"), gpus=(H200,))
    room = room_of(turn, turn.services["vllm"])
    # 2 GiB of the user's, 1 GiB of the driver's, 0.3 GiB to spare, of 141 GiB
    assert room == pytest.approx(1 - 3.3 / 141)


def test_what_nvml_does_not_say_is_not_guessed() -> None:
    unknown = replace(H200, processes=(GpuProcess(9, "python3", None),))
    for gpu in (unknown, replace(H200, processes=None), GB10, replace(H200, lost=True)):
        turn = turn_of(service("vllm"), gpus=(gpu,))
        assert room_of(turn, turn.services["vllm"]) is None
    assert room_of(turn_of(service("vllm")), ServiceState("vllm")) is None


def test_a_card_without_memory_of_its_own_is_the_hosts_memory() -> None:
    turn = turn_of(service("vllm", gpus=("1",)), service("other", gpus=("0",)), gpus=(H200, GB10))
    assert in_host_memory(turn, turn.services["vllm"])
    assert not in_host_memory(turn, turn.services["other"])


def two_services(mine: float, theirs: float) -> SimulatedHost:
    policies = {
        "embed": ServicePolicy(service("embed", theirs, port=8001)),
        "vllm": ServicePolicy(service("vllm", mine, max_model_len=8192)),
    }
    host = SimulatedHost(policies, Card(weights=1.0, activation=0.2))
    host.agent_starts()
    host.carry_out()
    for name in policies:
        while name not in host.runs:
            host.pass_time(1)
        host.pass_time(host.start_takes + 5)
    return host


def test_a_raise_stops_where_the_neighbours_share_begins() -> None:
    host = two_services(0.75, 0.15)
    host.dies(F.OOM_KV_NONE, Numbers(available_kv_gib=-1.4, total_gib=24.0), "vllm", status=1)
    host.carry_out()
    learned = host.service("vllm").learned.overrides["gpu_memory_utilization"]
    assert learned.running == 0.82  # 1 - 0.15 - 0.03, not 0.75 + 1.9 / 24
    assert "service.embed takes 0.15" in learned.why


def test_what_is_too_little_beside_a_neighbour_is_held_with_the_arithmetic() -> None:
    host = two_services(0.75, 0.22)
    short = Numbers(
        needed_kv_gib=3.0, available_kv_gib=0.5, estimated_max_model_len=900, total_gib=24.0
    )
    host.dies(F.OOM_KV_TOO_SMALL_FOR_MAXLEN, short, "vllm", status=1)
    host.carry_out()
    s = host.service("vllm")
    assert s.phase is Phase.HELD
    assert "0.75 of the card is too little" in s.reason
    assert "service.embed takes 0.22" in s.reason
    assert "Lower theirs" in s.what_to_do


def test_what_strangers_hold_by_nvml_limits_a_raise() -> None:
    host = SimulatedHost({"vllm": ServicePolicy(service("vllm", 0.8, max_model_len=8192))})
    host.agent_starts()
    stranger = GpuProcess(9, "python3", 14 * GIB, "user@1000.service")
    host.observe(GpusSeen(host.now, Gpus(host.now, (replace(H200, processes=(stranger,)),))))
    assert host.serving_within(300)
    host.dies(F.OOM_KV_NONE, Numbers(available_kv_gib=-12.6, total_gib=141.0), status=1)
    host.carry_out()
    assert host.service().learned.overrides["gpu_memory_utilization"].running == 0.89
