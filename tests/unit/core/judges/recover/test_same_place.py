# SPDX-License-Identifier: Apache-2.0
"""The same exception at the same place of a start a second time is no accident."""

from __future__ import annotations

from dataclasses import replace

from agent.core.failures.classes import FailureClass
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.phases import Phase
from tests.given.simulated_host import SimulatedHost

F = FailureClass
ASKED = Settings("vllm", "/srv/m", gpu_memory_utilization=0.9, max_model_len=8192)
PLACE = "AssertionError@vllm/v1/core/odd.py:schedule"
SWITCH = "VLLM_USE_DEEP_GEMM=0"


def started(asked: Settings = ASKED, recovery: Recovery | None = None) -> SimulatedHost:
    host = SimulatedHost({"vllm": ServicePolicy(asked, recovery=recovery or Recovery())})
    host.agent_starts()
    host.carry_out()
    return host


def dies(
    host: SimulatedHost, failure: FailureClass, place: str = PLACE, switches: tuple[str, ...] = ()
) -> None:
    """The run ends with an exception at a place."""
    invocation = host.runs["vllm"].invocation
    host.dies(failure, status=1)
    host.ended[invocation] = replace(host.ended[invocation], place=place, switches=switches)
    host.carry_out()


def starts(host: SimulatedHost) -> int:
    """Return how often it was started, once a due start was made."""
    host.pass_time(10)
    return len(host.starts)


def test_a_start_that_dies_twice_at_one_place_is_held() -> None:
    host = started()
    host.pass_time(10)
    dies(host, F.UNKNOWN)
    assert starts(host) == 2
    dies(host, F.UNKNOWN)
    service = host.service()
    assert service.phase is Phase.HELD
    assert PLACE in service.reason
    host.pass_time(3600)
    assert len(host.starts) == 2


def test_at_another_place_it_is_tried_on() -> None:
    host = started()
    host.pass_time(10)
    dies(host, F.UNKNOWN)
    assert starts(host) == 2
    dies(host, F.UNKNOWN, "KeyError@vllm/v1/core/odd.py:schedule")
    assert host.service().phase is Phase.WAITING


def test_what_served_in_between_is_tried_on() -> None:
    host = started()
    assert host.serving_within(300)
    dies(host, F.KERNEL_LIBRARY)
    assert host.serving_within(300)
    dies(host, F.KERNEL_LIBRARY)
    assert host.service().phase is Phase.WAITING


def test_changed_settings_give_way_to_those_that_served() -> None:
    host = started()
    assert host.serving_within(300)
    host.pass_time(700)
    changed = replace(ASKED, max_num_seqs=64)
    host.policies = {"vllm": ServicePolicy(changed)}
    host.reload()
    host.carry_out()
    host.operator_stops()
    host.operator_starts()
    host.pass_time(10)
    dies(host, F.ENGINE_BUG)
    assert host.serving_within(300)
    assert host.service().rolled_back is not None


def test_a_kernel_is_switched_off_verified_and_forgotten_like_a_setting() -> None:
    host = started(recovery=Recovery(allow_switches=True))
    host.pass_time(10)
    dies(host, F.KERNEL_LIBRARY, switches=(SWITCH,))
    assert host.serving_within(300)
    assert host.starts[-1][2].environment == {"VLLM_USE_DEEP_GEMM": "0"}
    assert host.service().learned.overrides[SWITCH].running is True
    host.policies = {"vllm": ServicePolicy(replace(ASKED, max_num_seqs=64))}
    host.reload()
    assert host.service().learned.overrides == {}
    told = [line.message for line in host.history if line.kind == "learned"]
    assert any(line.startswith(f"{SWITCH} from now on") for line in told)


def test_without_leave_a_kernel_that_fails_is_held_at_once() -> None:
    host = started()
    host.pass_time(10)
    dies(host, F.KERNEL_LIBRARY, switches=(SWITCH,))
    assert host.service().phase is Phase.HELD
