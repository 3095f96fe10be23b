# SPDX-License-Identifier: Apache-2.0
"""Last known good: a changed agent.toml that fails for good gives way to the settings before it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.core.failures.classes import FailureClass
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import Expectations, ServicePolicy, Settings
from agent.core.state.actions import Start, Verify
from agent.core.state.phases import Phase
from tests.given.simulated_engine import Card
from tests.given.simulated_host import SimulatedHost

F = FailureClass
GOOD = Settings("vllm", "/srv/models/llama", gpu_memory_utilization=0.9, max_model_len=8192)


def settled(card: Card | None = None, good: Settings = GOOD, **recovery: Any) -> SimulatedHost:
    """A host whose service has served its settings for long enough."""
    policy = ServicePolicy(good, recovery=Recovery(**recovery))
    host = SimulatedHost({"vllm": policy}, card or Card())
    host.agent_starts()
    host.carry_out()
    assert host.serving_within(300)
    host.pass_time(Recovery().settle_seconds + 5)
    assert host.service().settled
    return host


def edit(host: SimulatedHost, expect: Expectations | None = None, **settings: Any) -> None:
    policy = host.policies["vllm"]
    changed = replace(policy, settings=replace(policy.settings, **settings))
    host.policies = {"vllm": changed if expect is None else replace(changed, expect=expect)}
    host.reload()
    host.carry_out()


def fails_at_start(host: SimulatedHost, failure: FailureClass) -> None:
    while "vllm" not in host.runs:
        host.pass_time(1)
    host.pass_time(5)
    host.dies(failure, status=1)
    host.carry_out()


def kinds(host: SimulatedHost) -> list[str]:
    return [line.kind for line in host.history]


def test_new_settings_that_vllm_refuses_give_way_to_those_that_served() -> None:
    host = settled()
    edit(host, extra_args=("--no-such-flag",))
    fails_at_start(host, F.UNKNOWN_ARG)
    assert host.serving_within(120)
    assert host.starts[-1][2] == GOOD
    told = next(line for line in host.history if line.kind == "rolled-back")
    assert "unknown-arg" in told.message
    assert "extra_args" in told.message
    assert "held" not in kinds(host)


def test_they_stay_until_agent_toml_is_changed_again() -> None:
    host = settled()
    edit(host, quantization="awq")
    fails_at_start(host, F.QUANT_MISMATCH)
    assert host.serving_within(120)
    host.pass_time(4000)
    host.agent_starts()
    host.reload()
    host.pass_time(60)
    host.reboots()
    assert host.serving_within(120)
    assert host.starts[-1][2] == GOOD
    edit(host, quantization="fp8")
    assert host.serving_within(120)
    assert host.starts[-1][2].quantization == "fp8"
    assert host.service().rolled_back is None


def test_what_was_good_is_verified_by_what_was_expected_of_it() -> None:
    host = settled()
    edit(host, Expectations(linear_kernel="marlin"), quantization="awq")
    asked: list[object] = []
    host.on_action = asked.append
    fails_at_start(host, F.QUANT_MISMATCH)
    assert host.serving_within(120)
    verify = [action for action in asked if isinstance(action, Verify)][-1]
    assert verify.policy.settings == GOOD
    assert verify.policy.expect == Expectations()


def test_the_unit_on_disk_says_that_it_is_not_that_of_agent_toml() -> None:
    host = settled()
    edit(host, quantization="awq")
    asked: list[object] = []
    host.on_action = asked.append
    fails_at_start(host, F.QUANT_MISMATCH)
    start = [action for action in asked if isinstance(action, Start)][-1]
    assert start.settings == GOOD
    assert "quantization unset -> awq" in start.notes[0]


def test_old_settings_that_fail_too_are_held_and_nothing_is_tried_round_and_round() -> None:
    host = settled()
    edit(host, quantization="awq")
    fails_at_start(host, F.QUANT_MISMATCH)
    fails_at_start(host, F.QUANT_MISMATCH)
    host.pass_time(4000)
    assert host.service().phase is Phase.HELD
    assert kinds(host).count("rolled-back") == 1


def test_settings_that_were_never_changed_have_nothing_to_go_back_to() -> None:
    host = settled()
    host.dies(F.UNKNOWN_ARG, status=2)
    host.carry_out()
    assert host.service().phase is Phase.HELD


def test_settings_that_never_settled_are_not_known_to_be_good() -> None:
    host = SimulatedHost({"vllm": ServicePolicy(GOOD)})
    host.agent_starts()
    host.carry_out()
    assert host.serving_within(300)
    edit(host, quantization="awq")
    fails_at_start(host, F.QUANT_MISMATCH)
    assert host.service().phase is Phase.HELD


def test_it_can_be_switched_off() -> None:
    host = settled(roll_back=False)
    edit(host, quantization="awq")
    fails_at_start(host, F.QUANT_MISMATCH)
    assert host.service().phase is Phase.HELD


def test_memory_that_no_change_within_the_limits_finds_rolls_back_too() -> None:
    host = settled(max_gpu_memory_utilization=0.9)
    edit(host, max_model_len=1_000_000)
    host.policies = {
        "vllm": replace(
            host.policies["vllm"],
            recovery=Recovery(min_max_model_len=500_000, max_gpu_memory_utilization=0.9),
        )
    }
    host.pass_time(300)
    assert host.serving_within(120)
    assert host.starts[-1][2] == GOOD


@pytest.mark.parametrize(
    ("failure", "changed", "goes_back"),
    [
        (F.GATED_REPO, {"model": "org/gated"}, True),
        (F.GATED_REPO, {"max_num_seqs": 4}, False),
        (F.DRIVER_TOO_OLD, {"max_num_seqs": 4}, False),
        (F.LIBCUDART_MISSING, {"python": "/opt/new/bin/python"}, True),
        (F.GPU_LOST, {"model": "org/other"}, False),
        (F.WEIGHTS_MISSING, {"model": "/srv/models/other"}, True),
        (F.DISK_FULL, {"model": "org/other"}, True),
        (F.NO_C_COMPILER, {"quantization": "awq"}, True),
    ],
)
def test_what_a_person_must_cure_is_held_where_the_old_settings_would_meet_it_too(
    failure: FailureClass, changed: dict[str, Any], goes_back: bool
) -> None:
    host = settled()
    edit(host, **changed)
    fails_at_start(host, failure)
    expected = Phase.STARTING if goes_back else Phase.HELD
    assert host.service().phase is expected


def test_new_settings_that_crash_without_a_known_cause_each_time_give_way_after_four_starts() -> (
    None
):
    host = settled()
    edit(host, extra_args=("--some-new-option",))
    for _ in range(4):
        assert host.service().rolled_back is None
        fails_at_start(host, F.UNKNOWN)
    assert host.service().rolled_back is not None
    assert host.serving_within(120)


def test_a_crash_after_new_settings_have_served_is_no_reason_to_go_back() -> None:
    host = settled()
    edit(host, max_num_seqs=64)
    for _ in range(6):
        assert host.serving_within(900)
        host.dies(F.ENGINE_DEAD)
        host.carry_out()
    assert host.service().rolled_back is None


def test_learned_values_are_part_of_what_was_good() -> None:
    host = settled(Card(others=3.0), replace(GOOD, gpu_memory_utilization=0.95))
    assert host.service().learned.overrides["gpu_memory_utilization"].running == 0.86
    edit(host, quantization="awq")
    fails_at_start(host, F.QUANT_MISMATCH)
    assert host.serving_within(120)
    assert host.starts[-1][2].gpu_memory_utilization == 0.86


def test_what_the_agent_itself_changed_is_taken_back_before_anything_is_held() -> None:
    host = settled(Card(others=3.0), replace(GOOD, gpu_memory_utilization=0.95))
    host.dies(F.BAD_ARG_VALUE, status=1)
    host.carry_out()
    assert host.service().learned.overrides, "a service that has served is tried as it is"
    fails_at_start(host, F.BAD_ARG_VALUE)
    assert host.service().learned.overrides == {}
    assert host.service().phase is not Phase.HELD
    assert host.serving_within(120)
    host.dies(F.BAD_ARG_VALUE, status=1)
    host.carry_out()
    fails_at_start(host, F.BAD_ARG_VALUE)
    assert host.service().phase is Phase.HELD
