# SPDX-License-Identifier: Apache-2.0
"""Nights of a group of hosts in virtual time, with partitions: the promises are kept.

A seed that fails is told by `python -m tests.nights.groups SEED`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from agent.core.state.observations import Observation
from tests.nights.clockwork import EVENING
from tests.nights.dooms import doom_of
from tests.nights.groups.agent import Peer
from tests.nights.groups.engines import HEAD
from tests.nights.groups.faults import LASTS, Fault, What
from tests.nights.groups.host import SERVICE
from tests.nights.groups.many import all_compared
from tests.nights.groups.night import (
    LOOK_SECONDS,
    SIZES,
    Ground,
    GroupNight,
    under_llmagent,
    under_systemd,
)
from tests.nights.groups.overseer import Overseer
from tests.nights.promises import BrokenPromiseError

SMALL = [seed for seed in range(2 * len(SIZES)) if SIZES[seed % len(SIZES)] <= 4]
"""The benchmark lives through more of them, and through those of eight and sixteen hosts."""

CALM = GroupNight(1, 2, "split", True, 0.5, 60.0, 30.0, ())


def test_the_promises_hold_for_groups_and_more_is_served_than_with_restart_always() -> None:
    nights = list(all_compared(SMALL))
    broken = [night.broken for night in nights if night.broken]
    assert not broken, "\n".join(broken[:10])
    shares = [
        sum(ledger.served for ledger in ledgers) / sum(ledger.wanted for ledger in ledgers)
        for ledgers in zip(*(night.ledgers for night in nights), strict=True)
    ]
    ours, *theirs = shares
    assert ours > max(theirs) + 0.1, shares


@pytest.mark.parametrize("kind", ["split", "replicas"])
@pytest.mark.parametrize("what", list(What))
def test_whatever_happens_to_two_hosts_they_serve_again(what: What, kind: str) -> None:
    host = HEAD if what in (What.HEAD_DIES, What.HEAD_HANGS) else 1
    side = (1,) if what is What.PARTITION else ()
    fault = Fault(600.0, what, host, 420.0 if what in LASTS else 0.0, side, 4.0)
    night = replace(CALM, kind="split" if kind == "split" else "replicas", faults=(fault,))
    ledger = under_llmagent(night)
    assert ledger.served > 0.3 * ledger.wanted


@pytest.mark.parametrize("kind", ["split", "replicas"])
@pytest.mark.parametrize("what", [What.HOST_OFF, What.ONE_WAY, What.CUT])
def test_a_host_that_is_lost_during_a_start_does_not_keep_the_gpus_of_the_others(
    what: What, kind: str
) -> None:
    """The head, which waits for it, is held to the overseer's bound as any other rank."""
    lost = tuple(Fault(at, what, 1, 1800.0) for at in (20.0, 2400.0))
    night = replace(CALM, kind="split" if kind == "split" else "replicas", start_seconds=150.0)
    assert under_llmagent(replace(night, faults=lost)).lost[what] < 2 * 1800.0 + 900.0


@pytest.mark.parametrize("kind", ["split", "replicas"])
@pytest.mark.parametrize(
    "lost",
    [
        (Fault(600.0, What.CUT, 1, 1800.0),),
        (Fault(600.0, What.ONE_WAY, 1, 1800.0),),
        (Fault(600.0, What.HOST_OFF, 1, 1800.0),),
        (Fault(600.0, What.AGENT_AWAY, 1, 1800.0), Fault(610.0, What.RANK_DIES, 1)),
    ],
)
def test_what_waits_at_full_speed_for_a_lost_rank_gives_its_gpus_back(
    lost: tuple[Fault, ...], kind: str
) -> None:
    """That processors are at work kept them for 675 s, beyond the overseer's bound."""
    night = replace(CALM, kind="split" if kind == "split" else "replicas", hours=1.0, load=0.0)
    ledger = under_llmagent(replace(night, closes=False, faults=lost))
    assert ledger.lost[lost[-1].what] < 1800.0 + 900.0


def test_a_start_that_hung_behind_a_cut_cable_goes_on_once_that_is_mended() -> None:
    cut = Fault(151.0, What.PARTITION, 1, 60.0, (1,))
    ledger = under_llmagent(replace(CALM, start_seconds=150.0, faults=(cut,)))
    assert ledger.lost[What.PARTITION] < 60.0 + 60.0


def test_a_head_that_hears_nobody_finds_out_that_a_replica_was_given_up() -> None:
    """Neither host can open a connection to the other; of the head's own engine tokens come."""
    deaf = (Fault(600.0, What.FIREWALL, 0, 1800.0), Fault(660.0, What.FIREWALL, 1, 600.0))
    night = replace(CALM, kind="replicas", start_seconds=150.0, hours=1.0, faults=deaf)
    assert under_llmagent(night).served


def test_eight_hosts_that_are_cut_in_two_serve_again() -> None:
    cut = Fault(300.0, What.PARTITION, 1, 420.0, (1, 2, 5))
    night = replace(CALM, hosts=8, hours=0.1, faults=(cut,))
    assert under_llmagent(night).lost[What.PARTITION] < 420.0 + 300.0


def test_a_group_night_is_the_same_to_the_second_each_time() -> None:
    night = replace(CALM, faults=(Fault(600.0, What.CUT, 1, 180.0),))
    assert under_llmagent(night).lost == under_llmagent(night).lost


def test_a_dead_head_leaves_its_silent_rank_for_ever_under_systemd_alone() -> None:
    night = replace(CALM, faults=(Fault(600.0, What.HEAD_DIES, HEAD),))
    theirs, ours = under_systemd(night, 5.0), under_llmagent(night)
    assert theirs.lost[What.HEAD_DIES] == pytest.approx(CALM.hours * 3600 + 900 - 600)
    assert ours.lost[What.HEAD_DIES] < 120


class Idle(Peer):
    """An agent that runs and does nothing."""

    def observe(self, observation: Observation) -> None:
        """Hear of it."""


def overseen(happens: Callable[[Ground], None]) -> str:
    """Returns what the overseer says of two hosts that nobody keeps together."""
    ground = Ground(CALM, None)
    agents = [Idle(rank, ground.cables) for rank in ground.ranks]
    for agent in agents:
        agent.rank.keeper, agent.up = agent, True
        agent.rank.start(SERVICE, agent.rank.policies[SERVICE].settings)
    overseer = Overseer(ground, agents, CALM)
    ground.clock.run_until(EVENING + 300.0)
    assert ground.engines.serve()
    happens(ground)
    for _ in range(100):
        ground.clock.run_until(ground.clock.now + LOOK_SECONDS)
        try:
            overseer.look(ground.clock.now)
        except BrokenPromiseError as broken:
            return str(broken)
    return ""


def test_the_overseer_sees_ranks_of_two_lives_side_by_side() -> None:
    """Without load a head notices nothing, and systemd starts the other rank anew beside it."""

    def other_dies(ground: Ground) -> None:
        ground.ranks[HEAD].run.pace(ground.clock.now, 0.0)  # type: ignore[union-attr]
        ground.ranks[1].die(ground.ranks[1].run, doom_of(None))  # type: ignore[arg-type]

    assert overseen(other_dies).startswith("mixed: hosts 0 and 1")


def test_the_overseer_sees_gpus_that_are_held_for_nothing() -> None:
    assert overseen(lambda ground: ground.ranks[HEAD].stop(SERVICE, kill=True)).startswith(
        "alone: host 1"
    )


def test_the_overseer_says_nothing_while_all_is_well() -> None:
    assert overseen(lambda _: None) == ""
