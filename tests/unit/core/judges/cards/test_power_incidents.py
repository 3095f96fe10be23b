# SPDX-License-Identifier: Apache-2.0
"""What a card is held to, told as it happens: set before the start, kept, given back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from agent.core.gpu.reading import Driver, PowerLimits
from agent.core.settings.gpus import CardLimits, Power
from agent.core.state.actions import LockClocks, SetPersistenceMode, SetPowerLimit
from agent.core.state.card import Cause, LeverState
from agent.core.state.observations import GpuOutcome
from agent.core.state.phases import Phase
from agent.core.state.steering.asked import OperatorAsked
from agent.core.state.steering.requests import (
    AskPause,
)
from tests.given.simulated_gpus import GB10, RTX4090, GpuHost, gpu_host

CAP = Power(limit_watts=400.0)
OTHER = replace(RTX4090, index=1, uuid="GPU-1", name="NVIDIA H200", pci_bus_id="00000000:41:00.0")


def capped(**more: object) -> GpuHost:
    host = gpu_host(power=CAP, **more)  # type: ignore[arg-type]
    assert host.serving_within(120)
    assert host.requested() == 400.0
    return host


def test_the_cap_is_in_force_before_the_first_start() -> None:
    host = gpu_host(power=CAP)
    at_start: list[float | None] = []
    host.on_action = lambda action: (
        at_start.append(host.requested()) if type(action).__name__ == "Start" else None
    )
    assert host.serving_within(120)
    assert at_start == [400.0]
    assert host.remembered().cap.state is LeverState.IN_FORCE
    assert host.said("power") == [
        "GPU 0 (NVIDIA GeForce RTX 4090): power limit 400 W is in force, as agent.toml asks, "
        "450 W before"
    ]


def test_a_start_does_not_wait_for_a_driver_that_never_comes() -> None:
    host = gpu_host(power=CAP)
    host.driver = Driver(problem="no driver")
    began = host.now
    assert host.serving_within(120)
    assert host.starts[0][0] - began <= 20


def test_nothing_is_touched_where_nothing_is_asked() -> None:
    host = gpu_host()
    host.pass_time(600)
    host.limit(300.0)
    host.pass_time(600)
    assert host.asked == []


def test_the_limit_lost_with_the_driver_is_set_again_and_its_cause_is_counted() -> None:
    host = capped()
    host.reload_driver()
    host.pass_time(5)
    assert host.requested() == 400.0
    assert host.remembered().cap.reasserts == {Cause.DRIVER_RELOAD: 1}


def test_a_limit_lost_in_a_reboot_is_set_again() -> None:
    host = capped()
    host.reboots()
    host.limit(450.0)
    host.pass_time(60)
    assert host.requested() == 400.0
    assert host.remembered().cap.reasserts == {Cause.START: 1}


def test_a_card_that_was_lost_gets_its_limit_back() -> None:
    host = capped()
    host.change(lost=True)
    host.pass_time(10)
    host.limit(450.0)
    host.change(lost=False)
    host.pass_time(10)
    assert host.requested() == 400.0
    assert host.remembered().cap.reasserts == {Cause.RESET: 1}


def test_somebody_else_is_overruled_three_times_an_hour_and_then_let_be_for_an_hour() -> None:
    host = capped()
    host.pass_time(300)
    for _ in range(4):
        host.limit(350.0)
        host.pass_time(60)
    assert host.requested() == 350.0
    cap = host.remembered().cap
    assert cap.state is LeverState.YIELDED
    assert cap.reasserts == {Cause.FOREIGN: 3}
    assert len(host.said("power-yielded")) == 1
    host.pass_time(3000)
    assert host.requested() == 350.0
    host.pass_time(700)
    assert host.requested() == 400.0
    assert host.remembered().cap.state is LeverState.IN_FORCE


def test_a_limit_that_does_not_take_is_tried_three_times_then_told_once_and_tried_hourly() -> None:
    host = gpu_host(power=CAP)
    host.takes = False
    host.pass_time(3000)
    assert len(host.asked) == 3
    assert len(host.said("power-degraded")) == 1
    assert host.remembered().cap.state is LeverState.DEGRADED
    assert host.service().phase is Phase.SERVING
    host.takes = True
    host.pass_time(1200)
    assert len(host.asked) == 4
    assert host.remembered().cap.state is LeverState.IN_FORCE
    assert len(host.said("power-degraded")) == 1


def test_an_nvidia_smi_that_hangs_is_tried_three_times() -> None:
    host = gpu_host(power=CAP)
    host.ends = GpuOutcome.FAILED
    host.pass_time(600)
    assert len(host.asked) == 3
    assert host.said("power-degraded")[0].endswith(
        "its words; it is tried once an hour from now on"
    )


@pytest.mark.parametrize(
    "end", [GpuOutcome.NOT_PERMITTED, GpuOutcome.NOT_SUPPORTED, GpuOutcome.NO_TOOL]
)
def test_what_cannot_be_set_is_told_once_and_not_tried_again(end: GpuOutcome) -> None:
    host = gpu_host(power=CAP)
    host.ends = end
    host.pass_time(7200)
    assert len(host.asked) == 1
    assert len(host.said("power-blocked")) == 1
    assert host.remembered().cap.state is LeverState.BLOCKED
    host.ends = GpuOutcome.DONE
    host.reload()
    host.pass_time(5)
    assert host.remembered().cap.state is LeverState.IN_FORCE


def test_a_card_without_a_limit_is_told_of_once_and_never_set() -> None:
    host = gpu_host(GB10, power=CAP)
    host.pass_time(600)
    assert host.asked == []
    (told,) = host.said("power-blocked")
    assert "lock_clocks_mhz" in told


@pytest.mark.parametrize(("asked", "set_to"), [(100.0, 150.0), (800.0, 600.0)])
def test_a_wish_outside_of_the_range_is_brought_to_its_end_and_said(
    asked: float, set_to: float
) -> None:
    host = gpu_host(power=Power(limit_watts=asked))
    host.pass_time(60)
    assert host.requested() == set_to
    assert len([line for line in host.said("power") if "the card takes 150 to 600 W" in line]) == 1


def test_a_share_of_the_default_limit_may_be_asked_for() -> None:
    host = gpu_host(power=Power(limit_ratio=0.8))
    host.pass_time(30)
    assert host.requested() == 360.0


def test_each_card_has_its_own_limit_by_name_index_or_uuid() -> None:
    tables = {"*h200*": CardLimits(limit_watts=500.0), "7": CardLimits(limit_watts=200.0)}
    host = gpu_host(RTX4090, OTHER, power=Power(limit_watts=400.0, gpu=tables))
    host.pass_time(30)
    assert (host.requested("GPU-0"), host.requested("GPU-1")) == (400.0, 500.0)
    host.power = Power(gpu={"1": CardLimits(limit_watts=300.0), "GPU-0": CardLimits()})
    host.reload()
    host.pass_time(30)
    assert (host.requested("GPU-0"), host.requested("GPU-1")) == (450.0, 300.0)


def test_a_released_card_gets_back_what_it_had() -> None:
    host = gpu_host(power=CAP)
    host.limit(420.0)
    host.pass_time(60)
    assert host.requested() == 400.0
    host.power = Power()
    host.reload()
    host.pass_time(30)
    assert host.requested() == 420.0
    assert "is back at 420 W" in host.said("power")[-1]
    host.limit(300.0)
    host.pass_time(30)
    assert host.requested() == 300.0


def test_what_was_found_is_remembered_by_the_next_agent_process() -> None:
    host = capped()
    host.power = Power()
    host.agent_starts()
    host.pass_time(30)
    assert host.requested() == 450.0


def test_a_board_that_holds_less_is_a_finding_and_not_fought() -> None:
    host = gpu_host(power=CAP)
    host.enforced_at_most = 350.0
    host.pass_time(600)
    assert len(host.asked) == 1
    assert host.remembered().cap.held_lower_watts == 350.0
    assert len([line for line in host.said("power") if "350 W are enforced" in line]) == 1


def test_an_action_that_is_lost_with_the_agent_is_asked_again() -> None:
    host = gpu_host(power=CAP)
    host.lose_actions = lambda action: isinstance(action, SetPowerLimit)
    host.pass_time(10)
    host.lose_actions = lambda _action: False
    host.agent_starts()
    host.pass_time(10)
    assert host.requested() == 400.0


def test_the_clocks_of_a_card_without_a_limit_are_locked_and_locked_again_after_a_reload() -> None:
    host = gpu_host(GB10, power=Power(lock_clocks_mhz=(0, 2100)))
    host.pass_time(60)
    assert host.asked == [LockClocks("GPU-0", host.asked[0].action_id, (0, 2100))]
    assert host.remembered().lock.state is LeverState.IN_FORCE
    host.driver = Driver(problem="the driver is being loaded")
    host.pass_time(10)
    host.driver = Driver()
    host.pass_time(10)
    assert len(host.asked) == 2
    host.power = Power()
    host.reload()
    host.pass_time(10)
    assert isinstance(host.asked[-1], LockClocks)
    assert host.asked[-1].mhz is None
    host.pass_time(600)
    assert len(host.asked) == 3


def test_clocks_above_the_lock_are_locked_again_but_not_in_a_loop() -> None:
    host = gpu_host(GB10, power=Power(lock_clocks_mhz=(0, 2100)))
    host.pass_time(30)
    host.change(clocks_hertz={"sm": 2.9e9})
    host.pass_time(7200)
    assert 3 <= len(host.asked) <= 8


def test_persistence_mode_is_turned_on_where_asked_and_only_spoken_of_where_it_matters() -> None:
    off = replace(RTX4090, persistence_mode=False)
    host = gpu_host(off, power=Power(persistence_mode=True))
    host.pass_time(30)
    assert host.asked == [SetPersistenceMode("GPU-0", host.asked[0].action_id)]
    quiet = gpu_host(off, power=CAP)
    quiet.pass_time(1200)
    assert [line for line in quiet.said("power") if "persistence mode is off" in line] == [
        "GPU 0 (NVIDIA GeForce RTX 4090): persistence mode is off: what [power] sets is lost when "
        "the card's last program ends; `persistence_mode = true` in [power] turns it on"
    ]


def test_a_card_that_shows_no_limits_for_a_moment_is_not_written_off() -> None:
    host = capped()
    known = host.gpus["GPU-0"].power_limits
    host.change(power_limits=PowerLimits())
    host.pass_time(5)
    host.change(power_limits=replace(known, requested_watts=450.0))
    host.pass_time(120)
    assert host.requested() == 400.0


def test_nothing_is_set_in_a_pause_of_the_host_and_the_drift_is_mended_after_it() -> None:
    host = capped()
    host.observe(OperatorAsked(host.now, 1, AskPause("", 3600.0), "root", 0.0))
    asked = len(host.asked)
    host.limit(450.0)
    host.pass_time(1800)
    assert len(host.asked) == asked
    host.pass_time(2000)
    assert host.requested() == 400.0
