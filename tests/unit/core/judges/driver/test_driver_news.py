# SPDX-License-Identifier: Apache-2.0
"""What the history says of the driver, once each; and when the agent starts itself anew."""

from __future__ import annotations

from dataclasses import replace

from agent.core.decide import decide
from agent.core.gpu.reading import Driver, Gpu, Gpus
from agent.core.state.actions import Reexecute
from agent.core.state.host import Decision, HostState
from agent.core.state.observations import GpusSeen
from agent.core.state.policy import HostPolicy

POLICY = HostPolicy({}, {})
OLD = Driver("580.65.06", "580.65.06", "580.65.06", "13.0", mapped_version="580.65.06")
UPGRADED = replace(OLD, library_version="595.71.05", installed_module_version="595.71.05")
RELOADED = replace(UPGRADED, module_version="595.71.05")
CARDS = (Gpu(0, "GPU-a", "NVIDIA H200"), Gpu(1, "GPU-b", "NVIDIA H200"))
ABSENT = "there is no NVIDIA driver on this host"


class Host:
    """The decisions of one look after the other."""

    def __init__(self) -> None:
        self.state = HostState()
        self.at = self.answered = 0.0

    def look(
        self,
        driver: Driver = OLD,
        gpus: tuple[Gpu, ...] = CARDS,
        nameless: tuple[int, ...] = (),
    ) -> Decision:
        """Decides on a look."""
        self.at += 1
        if not driver.problem:
            self.answered = self.at
        seen = GpusSeen(self.at, Gpus(self.answered, gpus, driver, nameless))
        decision = decide(self.state, seen, POLICY)
        self.state = decision.state
        return decision

    def says(self, driver: Driver = OLD, gpus: tuple[Gpu, ...] = CARDS) -> list[tuple[str, str]]:
        """Returns kind and message of what is told."""
        return [(line.kind, line.message) for line in self.look(driver, gpus).news]


def test_the_first_look_says_which_cards_there_are() -> None:
    host = Host()
    assert host.says() == [
        ("driver", "NVML works: driver 580.65.06, GPU 0 (NVIDIA H200), GPU 1 (NVIDIA H200)")
    ]
    assert host.says() == []


def test_a_host_that_never_had_a_driver_is_not_worth_a_line() -> None:
    assert Host().says(Driver(problem=ABSENT), ()) == []


def test_a_driver_that_is_gone_is_told_where_there_were_cards() -> None:
    host = Host()
    host.look()
    broken = Driver(problem=ABSENT)
    assert host.says(broken) == [("driver-problem", f"NVML does not work: {ABSENT}")]
    assert host.says(broken) == []
    assert host.says(replace(broken, problem="other")) == [
        ("driver-problem", "NVML does not work: other")
    ]
    assert host.says()[0][1].startswith("NVML works again: driver 580.65.06, GPU 0")


def test_a_driver_that_is_broken_from_the_start_is_told() -> None:
    assert Host().says(replace(OLD, problem="nvmlInit: Unknown Error"), ()) == [
        ("driver-problem", "NVML does not work: nvmlInit: Unknown Error")
    ]


def test_an_upgrade_says_that_the_next_start_would_fail_and_changes_nothing() -> None:
    host = Host()
    host.look()
    decision = host.look(UPGRADED)
    ((kind, message),) = [(line.kind, line.message) for line in decision.news]
    assert kind == "driver-problem"
    assert "library on disk is 595.71.05, the loaded kernel module 580.65.06" in message
    assert "what runs is left alone, the next start would fail" in message
    assert decision.actions == ()
    assert host.says(UPGRADED) == []
    assert host.says(OLD) == [("driver", "the driver's library and module agree: 580.65.06")]


def test_another_driver_in_force_starts_the_agent_anew_once() -> None:
    host = Host()
    host.look()
    host.look(UPGRADED)
    broken = replace(RELOADED, problem="nvmlDeviceGetCount: Uninitialized")
    decision = host.look(broken)
    (action,) = decision.actions
    assert isinstance(action, Reexecute)
    assert action.why in [line.message for line in decision.news], "recorded before it is done"
    assert "still has the library of 580.65.06" in action.why
    assert host.look(broken).actions == ()


def test_an_agent_that_has_loaded_no_library_need_not_start_anew() -> None:
    host = Host()
    host.look(replace(OLD, mapped_version="", problem="not loaded"), ())
    assert host.look(replace(RELOADED, mapped_version="")).actions == ()


def test_a_new_card_is_told_and_a_lost_one_is_told_by_its_name() -> None:
    host = Host()
    host.look()
    third = Gpu(2, "GPU-c", "NVIDIA L40S")
    assert host.says(gpus=(*CARDS, third)) == [
        ("gpu-new", "new: GPU 2 (NVIDIA L40S); 3 GPUs in all")
    ]
    lost = (replace(CARDS[0], lost=True), CARDS[1], third)
    assert [kind for kind, _ in host.says(gpus=lost)].count("gpu-lost") == 1
    assert [kind for kind, _ in host.says(gpus=(*CARDS, third))].count("gpu-back") == 1


def test_a_card_that_was_lost_before_it_was_known_is_told_by_its_index_once() -> None:
    host = Host()
    told = host.look(gpus=CARDS[:1], nameless=(1,)).news
    assert [line.message for line in told if line.kind == "gpu-lost"] == [
        "GPU 1 is lost: NVML counts it and cannot reach it, nor tell its UUID"
    ]
    assert host.look(gpus=CARDS[:1], nameless=(1,)).news == ()
