# SPDX-License-Identifier: Apache-2.0
"""Xids and lost cards, told as they happen: noted, restarted, or held until a person cured it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from agent.core.failures.classes import FailureClass
from agent.core.gpu.reading import Driver, GpuProcess
from agent.core.state.card import Cure
from agent.core.state.phases import Phase
from tests.given.simulated_gpus import RTX4090, GpuHost, gpu_host

F = FailureClass


def serving(host: GpuHost | None = None) -> GpuHost:
    host = host or gpu_host()
    assert host.serving_within(120)
    host.pass_time(120)
    return host


def test_an_xid_that_leaves_the_engine_alive_restarts_nothing() -> None:
    host = serving()
    host.sees_xid(31)
    host.pass_time(120)
    assert len(host.starts) == 1
    assert not host.service().live.suspect
    assert host.remembered().xids[31].count == 1


@pytest.mark.parametrize("log_comes_first", [True, False])
def test_an_error_that_the_kernel_log_and_nvml_tell_of_is_one(log_comes_first: bool) -> None:
    host = serving()
    for from_nvml in (not log_comes_first, log_comes_first):
        host.sees_xid(31, from_nvml=from_nvml)
        host.pass_time(3)
    record = host.remembered().xids[31]
    assert (record.count, len(record.incidents), record.unlogged) == (1, 1, 0)
    assert len(host.said("xid")) == 1


def test_an_error_that_only_nvml_tells_of_counts_and_is_acted_on() -> None:
    host = serving()
    host.hangs()
    host.sees_xid(31, from_nvml=True)
    host.pass_time(5)
    assert host.service().restarts == {F("xid-31"): 1}
    assert host.remembered().xids[31].count == 1


def test_lines_of_the_kernel_log_are_all_counted_after_an_error_that_it_missed() -> None:
    host = serving()
    host.sees_xid(31, from_nvml=True)
    host.pass_time(60)
    for _ in range(3):
        host.sees_xid(31)
    assert host.remembered().xids[31].count == 4


def test_an_engine_that_no_longer_answers_after_an_xid_is_restarted_at_once() -> None:
    host = serving()
    host.hangs()
    host.sees_xid(31)
    host.pass_time(5)
    assert host.service().restarts == {F("xid-31"): 1}
    assert host.serving_within(120)


def test_a_death_beside_an_xid_is_the_xids() -> None:
    host = serving()
    host.sees_xid(13)
    host.dies(F.CUDA_ILLEGAL_MEMORY_ACCESS)
    host.carry_out()
    failure = host.service().failure
    assert failure is not None
    assert failure.failure is F("xid-13")
    assert host.serving_within(120)


def test_a_death_that_the_log_explains_otherwise_keeps_its_class() -> None:
    host = serving()
    host.sees_xid(43)
    host.dies(F.OOM_RUNTIME)
    host.carry_out()
    failure = host.service().failure
    assert failure is not None
    assert failure.failure is F.OOM_RUNTIME


def test_an_xid_long_before_a_death_is_not_its_cause() -> None:
    host = serving()
    host.sees_xid(13)
    host.pass_time(60)
    host.dies(F.ENGINE_DEAD)
    host.carry_out()
    failure = host.service().failure
    assert failure is not None
    assert failure.failure is F.ENGINE_DEAD


def test_a_card_off_the_bus_holds_its_service_with_what_to_do_until_the_reboot() -> None:
    host = serving()
    host.has_xid(79)
    host.pass_time(30)
    s = host.service()
    assert s.phase is Phase.HELD
    assert s.reason.startswith("held: xid-79: GPU 0 (NVIDIA GeForce RTX 4090): Xid 79")
    assert "systemctl reboot" in s.what_to_do
    host.pass_time(86400 / 4, step=10)
    assert len(host.starts) == 1
    host.reboots()
    assert host.serving_within(120)
    assert host.remembered().ailment is None


def test_a_card_that_nvml_calls_lost_holds_and_frees_its_service_by_itself() -> None:
    host = serving()
    host.change(lost=True)
    host.pass_time(30)
    assert host.service().phase is Phase.HELD
    assert host.service().reason.startswith("held: gpu-lost: ")
    host.change(lost=False)
    assert host.serving_within(120)


def test_a_service_that_still_answers_keeps_a_card_that_waits_for_its_reset() -> None:
    host = serving()
    host.has_xid(119)
    host.pass_time(300)
    assert host.service().phase is Phase.SERVING
    ailment = host.remembered().ailment
    assert ailment is not None
    assert ailment.cure is Cure.RESET
    assert "nvidia-smi -i 00000000:01:00.0 -r" in ailment.what_to_do
    host.dies(F.ENGINE_DEAD)
    host.pass_time(30)
    assert host.service().phase is Phase.HELD
    host.change(energy_joules=0.0)
    assert host.serving_within(120)


def test_a_memory_error_that_is_not_contained_stops_even_a_service_that_answers() -> None:
    host = serving()
    host.has_xid(95)
    host.pass_time(30)
    assert host.service().phase is Phase.HELD


def test_the_drivers_own_verdict_decides_over_an_xid_154() -> None:
    host = serving()
    host.has_xid(154, recovery_action=2)
    ailment = host.remembered().ailment
    assert ailment is not None
    assert ailment.cure is Cure.REBOOT
    calm = serving()
    calm.has_xid(154, recovery_action=0)
    assert calm.remembered().ailment is None


def test_what_nvml_shows_of_itself_goes_when_nvml_no_longer_shows_it() -> None:
    host = serving()
    host.change(recovery_action=1)
    host.pass_time(5)
    assert host.remembered().ailment is not None
    host.change(recovery_action=0)
    host.pass_time(5)
    assert host.remembered().ailment is None


def test_the_third_fault_of_one_kind_in_a_day_asks_for_a_look_at_the_card() -> None:
    host = serving()
    for _ in range(3):
        host.has_xid(13)
        host.dies(F.ENGINE_DEAD)
        host.pass_time(30)
        host.serving_within(400)
        host.pass_time(700)
    s = host.service()
    assert s.phase is Phase.HELD
    assert "3 times within 24 h" in s.reason
    host.reload()
    assert host.serving_within(120)


def test_the_count_of_a_day_survives_the_agent() -> None:
    host = serving()
    for _ in range(2):
        host.has_xid(109)
        host.agent_starts()
        host.pass_time(100)
    ailment = host.remembered().ailment
    assert ailment is not None
    assert ailment.cure is Cure.RESET


def test_a_storm_of_lines_is_counted_and_is_one_incident() -> None:
    host = serving()
    for _ in range(50):
        host.now += 0.05
        host.sees_xid(31)
    record = host.remembered().xids[31]
    assert (record.count, len(record.incidents)) == (50, 1)
    assert len(host.said("xid")) == 1
    assert host.remembered().ailment is None


def test_lines_that_a_new_agent_process_reads_again_are_not_counted_again() -> None:
    host = serving()
    at = host.now
    host.sees_xid(31, logged_at=at)
    host.agent_starts()
    host.sees_xid(31, logged_at=at)
    assert host.remembered().xids[31].count == 1


def test_the_xid_that_our_own_stop_leaves_behind_is_counted_and_not_told() -> None:
    host = serving()
    host.hangs()
    while not host.service().restarts:
        host.pass_time(1)
    host.sees_xid(45)
    assert host.remembered().xids[45].count == 1
    assert host.said("xid") == []


def test_an_xid_of_another_units_process_is_not_the_services() -> None:
    host = serving()
    host.change(processes=(GpuProcess(77, "train", None, "jupyter.service"),))
    host.pass_time(2)
    host.hangs()
    host.sees_xid(31, pid=77)
    host.pass_time(10)
    assert len(host.starts) == 1
    assert host.service().live.xid is None


def test_only_the_service_on_the_card_is_concerned() -> None:
    other = replace(RTX4090, index=1, uuid="GPU-1", pci_bus_id="00000000:41:00.0")
    host = serving(gpu_host(RTX4090, other, gpus=("0",)))
    host.has_xid(79, bus="0000:41:00")
    host.pass_time(30)
    assert host.service().phase is Phase.SERVING
    host.has_xid(79, bus="0000:01:00")
    host.pass_time(30)
    assert host.service().phase is Phase.HELD


def test_of_all_cards_only_those_that_the_service_is_on_concern_it() -> None:
    other = replace(RTX4090, index=1, uuid="GPU-1", pci_bus_id="00000000:41:00.0")
    host = serving(gpu_host(RTX4090, other))
    host.change("GPU-1", lost=True)
    host.pass_time(30)
    assert host.service().phase is Phase.SERVING
    moved = serving(gpu_host(RTX4090, other))
    moved.change("GPU-1", processes=(GpuProcess(5, "VLLM::Worker", None, "vllm.service"),))
    moved.pass_time(2)
    moved.has_xid(79, bus="0000:41:00")
    moved.pass_time(1)
    assert moved.service().phase is Phase.HELD


def test_what_was_logged_before_the_reboot_is_counted_and_not_acted_on() -> None:
    host = serving()
    host.sees_xid(79, earlier_boot=True, logged_at=host.now - 500)
    host.pass_time(30)
    assert host.service().phase is Phase.SERVING
    assert "before this boot" in host.said("xid")[0]


def test_a_card_that_was_off_the_bus_last_week_too_is_to_be_looked_at() -> None:
    host = serving()
    host.sees_xid(79, earlier_boot=True, logged_at=host.now - 3 * 86400)
    host.has_xid(79)
    ailment = host.remembered().ailment
    assert ailment is not None
    assert ailment.cure is Cure.HARDWARE
    assert "power cable" in ailment.what_to_do


def test_an_operators_start_of_a_held_service_is_taken_as_word_that_the_card_is_well() -> None:
    host = serving()
    host.has_xid(119)
    host.dies(F.ENGINE_DEAD)
    host.pass_time(30)
    assert host.service().phase is Phase.HELD
    host.operator_starts()
    host.pass_time(100)
    assert host.service().phase is Phase.SERVING
    assert host.remembered().ailment is None


def test_an_xid_of_a_card_that_was_never_seen_is_told() -> None:
    host = serving()
    host.has_xid(79, bus="0000:99:00")
    assert host.said("xid")[0].startswith("0000:99:00: Xid 79")
    assert host.service().phase is Phase.SERVING


def test_an_operators_stop_stays_a_stop_whatever_the_card_does() -> None:
    host = serving()
    host.operator_stops()
    host.has_xid(79)
    host.pass_time(60)
    host.change(energy_joules=0.0)
    host.pass_time(60)
    assert host.service().phase is Phase.STOPPED


@pytest.mark.parametrize("code", [63, 92, 45, 43, 172, 999])
def test_what_only_informs_leaves_the_service_alone(code: int) -> None:
    host = serving()
    host.sees_xid(code)
    host.pass_time(60)
    assert len(host.starts) == 1
    assert host.remembered().ailment is None


@pytest.mark.parametrize("code", [48, 79, 95, 119, 140, 154])
def test_an_xid_that_only_the_kernel_log_tells_of_holds_nobody_and_is_told_once(code: int) -> None:
    host = serving()
    for _ in range(3):
        host.sees_xid(code, recovery_action=2 if code == 154 else None)
        host.pass_time(60)
    assert host.remembered().ailment is None
    assert host.remembered().xids[code].count == 3
    told = host.said("xid")
    assert len(told) == 3
    assert all("noted only, as NVML shows nothing of it" in said for said in told)
    host.dies(F.ENGINE_DEAD)
    assert host.serving_within(120)
    assert len(host.starts) == 2


@pytest.mark.parametrize("code", [79, 95, 119])
def test_a_death_beside_an_xid_that_nvml_knows_nothing_of_is_an_ordinary_one(code: int) -> None:
    host = serving()
    host.sees_xid(code)
    host.dies(F.ENGINE_DEAD)
    host.carry_out()
    failure = host.service().failure
    assert failure is not None
    assert failure.failure is F.ENGINE_DEAD
    assert host.serving_within(120)


def test_faults_without_nvmls_word_however_many_ask_for_no_look_at_the_card() -> None:
    host = serving()
    for _ in range(10):
        host.sees_xid(13)
        host.pass_time(120)
    assert host.remembered().ailment is None
    assert host.service().phase is Phase.SERVING


@pytest.mark.parametrize(
    "shown", [{"lost": True}, {"reset_required": True}, {"recovery_action": 2}]
)
def test_what_nvml_shows_of_the_card_bears_an_xid_out(shown: dict[str, Any]) -> None:
    host = serving()
    host.sees_xid(95)
    host.pass_time(5)
    assert host.service().phase is Phase.SERVING
    host.change(**shown)
    host.pass_time(30)
    assert host.service().phase is Phase.HELD
    assert "reset" in host.said("xid")[0]


def test_an_event_of_nvml_within_the_wait_bears_an_xid_out_and_is_no_second_one() -> None:
    host = serving()
    host.sees_xid(95)
    host.pass_time(12)
    host.sees_xid(95, from_nvml=True)
    host.pass_time(5)
    assert host.service().phase is Phase.HELD
    assert host.remembered().xids[95].count == 1
    assert len(host.said("xid")) == 1


@pytest.mark.parametrize("code", [48, 79, 95, 119])
def test_an_xid_that_waits_for_nvml_when_the_agent_starts_anew_is_told_and_counted_once(
    code: int,
) -> None:
    host = serving()
    host.sees_xid(code)
    host.pass_time(5)
    host.agent_starts()
    host.pass_time(60)
    assert host.remembered().xids[code].count == 1
    assert len(host.said("xid")) == 1
    assert "noted only, as NVML shows nothing of it" in host.said("xid")[0]
    assert host.service().phase is Phase.SERVING


def test_an_xid_that_waits_when_the_agent_starts_anew_is_borne_out_by_what_nvml_shows_then() -> (
    None
):
    host = serving()
    host.sees_xid(95)
    host.pass_time(5)
    host.agent_starts()
    host.change(reset_required=True)
    host.pass_time(30)
    assert host.service().phase is Phase.HELD
    assert len(host.said("xid")) == 1
    assert "reset" in host.said("xid")[0]


def test_an_xid_that_waits_when_the_host_starts_anew_is_told_as_one_of_before() -> None:
    host = serving()
    host.sees_xid(95)
    host.pass_time(5)
    host.reboots()
    host.pass_time(120)
    assert len(host.said("xid")) == 1
    assert "before this boot" in host.said("xid")[0]
    assert host.remembered().ailment is None


def test_lines_that_nobody_bore_out_do_not_silence_the_true_error_after_them() -> None:
    host = serving()
    for _ in range(20):
        host.sees_xid(95)
        host.pass_time(5)
    assert host.service().phase is Phase.SERVING
    host.sees_xid(95, from_nvml=True)
    host.pass_time(5)
    assert host.service().phase is Phase.HELD


def test_the_kernels_word_counts_alone_where_nvml_cannot_be_asked() -> None:
    host = serving()
    host.driver = Driver(problem="NVML hangs in nvmlDeviceGetCount")
    host.pass_time(2)
    host.sees_xid(95)
    host.pass_time(5)
    assert host.remembered().ailment is not None


def test_the_kernels_word_counts_alone_when_nvml_stops_to_answer_during_the_wait() -> None:
    host = serving()
    host.sees_xid(95)
    host.driver = Driver(problem="NVML hangs in nvmlDeviceGetCount")
    host.pass_time(10)
    assert host.remembered().ailment is None
    host.pass_time(10)
    assert host.remembered().ailment is not None


def test_xids_of_unknown_cards_are_told_once_a_minute_with_how_many_were_left_out() -> None:
    host = serving()
    before = len(host.history)
    for step in range(1000):
        host.now += 0.3
        host.sees_xid(79, bus=f"0001:{step % 200:02x}:00")
    host.pass_time(120)
    told = host.said("xid")
    assert len(told) <= 7
    assert len(host.history) - before <= 8
    left_out = sum(int(found) for said in told for found in re.findall(r"(\d+) more", said))
    assert left_out + sum("Xid 79" in said for said in told) == 1000
