# SPDX-License-Identifier: Apache-2.0
"""Nights of twelve hours in virtual time, with every failure class: the promises are kept.

A seed that fails is told by `python -m tests.nights SEED`, which also prints it as a night of as
few faults as still break the promise; such nights are kept in test_nights_found.py.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from agent.core.failures.classes import FailureClass
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import ServicePolicy, Settings
from agent.core.state.actions import LookAtPort
from agent.core.state.host import Decision, HostState
from tests.nights.agent import LlmAgent
from tests.nights.clockwork import EVENING
from tests.nights.engine import LOCKED, NEVER_REACHED
from tests.nights.faults import DRAWN, HANGS, NIGHT, SHAPES, SILENT_BY_DESIGN, Fault, What, of_class
from tests.nights.happenings import Happenings
from tests.nights.ledger import Ledger
from tests.nights.many import all_broken
from tests.nights.night import (
    CLASSES,
    Night,
    under_an_all_knowing,
    under_llmagent,
    under_systemd,
    world_of,
)
from tests.nights.promises import (
    BrokenPromiseError,
    Named,
    Watch,
    bound_seconds,
    check_limits,
    check_repeated,
)
from tests.nights.telling import fewest, what_breaks

STEERED = 80
SHAPED = 60
UNREACHED = 40
NIGHTS = 2 * len(CLASSES)
"""Each failure class has its turn twice, among whatever else happens."""


def test_the_promises_hold_in_every_night() -> None:
    broken = all_broken(range(NIGHTS))
    assert not broken, "\n".join(broken[:10])


def test_the_promises_hold_though_an_operator_pauses_and_plans_restarts() -> None:
    broken = all_broken(range(STEERED), Night.steered)
    assert not broken, "\n".join(broken[:10])


def test_the_promises_hold_for_two_engines_embeddings_and_what_is_silent_by_design() -> None:
    broken = all_broken(range(SHAPED), Night.shaped)
    assert not broken, "\n".join(broken[:10])


def test_the_promises_hold_for_services_that_let_no_request_through() -> None:
    broken = all_broken(range(UNREACHED), Night.unreached)
    assert not broken, "\n".join(broken[:10])


@pytest.mark.parametrize("shape", [NEVER_REACHED, LOCKED])
def test_a_service_that_lets_no_request_through_is_killed_by_nobody(shape: str) -> None:
    for seed in range(3):
        fault = Fault(3 * 3600.0, What.DIES, "vllm")
        assert kills_in(Night(seed, (fault,), shape)) == []


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("how", SILENT_BY_DESIGN)
def test_what_is_silent_by_design_is_killed_by_nobody_in_any_shape(shape: str, how: str) -> None:
    for seed in range(3):
        fault = Fault(3 * 3600.0, What.BUSY, "vllm", seconds=3 * 3600.0, how=how)
        killed = kills_in(Night(seed, (fault,), shape))
        assert killed == [], killed


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("how", HANGS)
def test_what_hangs_is_killed_once_in_every_shape(shape: str, how: str) -> None:
    for seed in range(3):
        fault = Fault(3 * 3600.0, What.HANGS, "vllm", how=how)
        assert len(kills_in(Night(seed, (fault,), shape))) == 1


def kills_in(night: Night) -> list[str]:
    """Returns what llmagent said of each kill after the services first served."""
    said: list[str] = []
    under_llmagent(night, lambda _now, what: said.append(what))
    begin = next(number for number, what in enumerate(said) if what.startswith("***"))
    return [what for what in said[begin:] if ": kill: " in what]


def test_one_incident_is_one_message() -> None:
    for seed in range(0, len(CLASSES), 4):
        night = Night(seed, (Fault(7200.0, What.DIES, "vllm", size=seed % 3),))
        agent = LlmAgent(world := world_of(night))
        world.keeper = agent
        Happenings(world, agent, night.faults)
        agent.begin()
        world.clock.run_until(EVENING + 7000.0)
        before = len(agent.mails)  # the first start may have failed, too
        world.clock.run_until(EVENING + NIGHT)
        told = [mail.title for mail in agent.mails.values()][before:]
        open_ended = [title for title in told if "is not back after" in title]
        assert 1 <= len(told) <= 1 + len(open_ended), told


@pytest.mark.parametrize("failure", list(FailureClass))
def test_every_class_can_happen_in_a_night(failure: FailureClass) -> None:
    fault = of_class(failure, random.Random(1), 60.0, "vllm")
    assert fault.failure in (failure, None)


def test_a_night_is_the_same_to_the_second_each_time() -> None:
    told: list[list[tuple[float, str]]] = [[], []]
    for lines in told:
        heard: Callable[[tuple[float, str]], None] = lines.append
        under_llmagent(Night.of(7), partial(_hear, heard))
    assert told[0] == told[1]
    assert len(told[0]) > 10


def _hear(heard: Callable[[tuple[float, str]], None], now: float, what: str) -> None:
    heard((now, what))


def test_llmagent_serves_more_than_systemd_and_less_than_one_who_knows_everything() -> None:
    ours, systemd, best = Ledger(), Ledger(), Ledger()
    for seed in range(0, 400, 8):
        night = Night.of(seed)
        ours.add(under_llmagent(night))
        systemd.add(under_systemd(night, 5.0))
        best.add(under_an_all_knowing(night))
    assert systemd.served < ours.served < best.served
    assert ours.served / best.served > 0.9


def test_a_night_is_made_as_short_as_still_shows_the_same() -> None:
    night = next(Night.of(seed) for seed in range(500) if len(Night.of(seed).faults) > 6)
    wanted = night.faults[3].what

    def shows(faults: tuple[Fault, ...]) -> bool:
        return any(fault.what is wanted for fault in faults)

    assert [fault.what for fault in fewest(night.faults, shows)] == [wanted]


def test_the_bound_on_being_back_follows_from_the_policy() -> None:
    patient = bound_seconds(Recovery(), 60.0, 1)
    assert patient > 3600 + Recovery().compile_stall_seconds
    assert bound_seconds(Recovery(backoff_max_seconds=600.0), 60.0, 1) == patient + 300
    assert bound_seconds(Recovery(), 60.0, 2) > patient


def test_one_start_too_many_within_an_hour_is_noticed() -> None:
    watch = Watch()
    for number in range(3):
        watch.start(60.0 * number, Recovery(max_starts_per_hour=3))
    with pytest.raises(BrokenPromiseError, match="4 starts within an hour"):
        watch.start(300.0, Recovery(max_starts_per_hour=3))


def test_a_crash_breaks_a_promise_that_names_the_seed_and_hides_no_cause() -> None:
    with (
        pytest.raises(BrokenPromiseError, match=r"crash: RuntimeError in .*: ail \(seed 8, 1.50 h"),
        Named(8, lambda: 1.5),
    ):
        raise RuntimeError("ail")
    said = r"^held: vllm \(seed 8, 1.50 h into the night\)$"
    with pytest.raises(BrokenPromiseError, match=said), Named(8, lambda: 1.5):
        raise BrokenPromiseError("held: vllm")
    with pytest.raises(KeyboardInterrupt), Named(8, lambda: 1.5):
        raise KeyboardInterrupt


def test_acting_again_on_what_is_told_again_is_noticed() -> None:
    check_repeated(Decision(HostState()))
    with pytest.raises(BrokenPromiseError, match="stale: LookAtPort"):
        check_repeated(Decision(HostState(), (LookAtPort("vllm", 8000),)))


@pytest.mark.parametrize(
    "beyond",
    [
        {"gpu_memory_utilization": 0.49},
        {"gpu_memory_utilization": 0.98},
        {"max_model_len": 1024},
        {"max_num_seqs": 4},
    ],
)
def test_a_setting_beyond_its_limits_is_noticed(beyond: dict[str, float]) -> None:
    asked = Settings("vllm", "/srv/m", gpu_memory_utilization=0.9)
    used = replace(asked, **beyond)  # type: ignore[arg-type]
    with pytest.raises(BrokenPromiseError, match="limits"):
        check_limits(used, ServicePolicy(asked))
    check_limits(used, ServicePolicy(used))  # what the operator asks for is no choice of the agent


def test_a_quiet_night_serves_all_the_time_but_the_first_start() -> None:
    for seed in range(20):
        ledger = under_llmagent(Night(seed, ()))
        assert what_breaks(partial(under_llmagent, Night(seed, ()))) is None
        assert ledger.lost.keys() == {"first start"}
        assert ledger.served > ledger.wanted - 3 * 2400 * 2


def test_every_kind_of_fault_is_drawn_by_some_seed() -> None:
    drawn = {fault.what for seed in range(NIGHTS) for fault in Night.of(seed).faults}
    steered = {fault.what for seed in range(STEERED) for fault in Night.steered(seed).faults}
    assert drawn == set(DRAWN)
    assert drawn | steered == set(What)
