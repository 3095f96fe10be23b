# SPDX-License-Identifier: Apache-2.0
"""Makes the faults of a group's night happen, and end."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, assert_never

from agent.core.failures.classes import EnginePhase, FailureClass
from tests.nights.dooms import doom_of
from tests.nights.ground import Cause
from tests.nights.groups.engines import HEAD
from tests.nights.groups.faults import LASTS, Fault, What
from tests.nights.groups.host import Rank

if TYPE_CHECKING:
    from tests.nights.groups.agent import Peer
    from tests.nights.groups.night import Ground

F = FailureClass
DEATH = doom_of(None)
KILLED = doom_of(F.WORKER_DIED)
FAILS = doom_of(F.HUB_UNREACHABLE)
"""What ends starts for a while, and needs no person."""
HARMLESS = frozenset({What.AGENT_KILLED, What.AGENT_AWAY, What.FIREWALL})


class Happenings:
    """Puts each fault on the clock, and its end; `agents` is empty where systemd is alone."""

    def __init__(self, ground: Ground, agents: Sequence[Peer], faults: tuple[Fault, ...]) -> None:
        self._ground = ground
        self._agents = agents
        self.last_at = ground.clock.now
        """When something happened last, an end included."""
        began = ground.clock.now
        for fault in faults:
            ground.clock.at(began + fault.at, partial(self._happen, fault))

    def _struck(self, fault: Fault, how: str) -> Rank:
        ground = self._ground
        self.last_at = ground.clock.now
        ground.book()
        if how == "begins" and (fault.what not in HARMLESS or ground.engines.serve()):
            ground.blame = fault.what.value
        rank = ground.ranks[fault.host]
        rank.say(f"*** {fault.what} {how}")
        return rank

    def _happen(self, fault: Fault) -> None:
        rank = self._struck(fault, "begins")
        agent = self._agents[fault.host] if self._agents else None
        end = None
        match fault.what:
            case What.RANK_DIES | What.HEAD_DIES:
                self._dies(rank)
            case What.HEAD_HANGS:
                run = rank.run
                if run is not None and run.alive:
                    rank.hangs(run, half=False)
            case What.FAILS_ONCE:
                rank.causes.append(Cause(KILLED, EnginePhase.LOADING, left=1))
                self._dies(rank)
            case What.FAILS_LONG:
                cause = Cause(FAILS, EnginePhase.STARTING)
                rank.causes.append(cause)
                self._dies(rank)
                end = partial(self._cured, rank, cause)
            case What.NEIGHBOUR:
                rank.take("neighbour", fault.size)
                self._dies(rank)
                end = partial(rank.take, "neighbour", 0.0)
            case What.AGENT_KILLED:
                if agent is not None:
                    agent.killed(acting=False)
            case What.AGENT_AWAY:
                if agent is not None:
                    agent.away(fault.seconds)
            case What.REBOOT | What.HOST_OFF:
                if agent is not None:
                    agent.host_down()
                rank.reboot(90.0 + fault.seconds)
            case What.CUT | What.ONE_WAY | What.PARTITION:
                end = partial(self._mended, self._ground.cables.lose(self._lost(fault)))
                self._changed()
            case What.FIREWALL:
                end = partial(self._mended, self._ground.cables.refuse(self._lost(fault)))
                self._changed()
            case _:
                assert_never(fault.what)
        if fault.what in LASTS:
            self._ground.clock.after(fault.seconds, partial(self._over, fault, end))

    def _lost(self, fault: Fault) -> list[tuple[int, int]]:
        return fault.lost(range(len(self._ground.ranks)))

    def _over(self, fault: Fault, end: partial[None] | None) -> None:
        self._struck(fault, "is over")
        if end is not None:
            end()

    def _cured(self, rank: Rank, cause: Cause) -> None:
        if cause in rank.causes:
            rank.causes.remove(cause)
        rank.keeper.memory_changed()

    def _mended(self, lost: frozenset[tuple[int, int]]) -> None:
        self._ground.cables.mend(lost)
        self._changed()

    def _changed(self) -> None:
        self._ground.engines.cables_changed()
        self._ground.book()

    def _dies(self, rank: Rank) -> None:
        run = rank.run
        if run is not None:
            rank.die(run, DEATH if rank.number == HEAD else KILLED)
