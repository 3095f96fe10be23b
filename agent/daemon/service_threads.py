# SPDX-License-Identifier: Apache-2.0
"""What runs for one service, besides its fetches."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from agent.core.record import dataclass
from agent.core.state.actions import (
    Canary,
    FollowLog,
    ForgetFiles,
    ListFiles,
    OwnAction,
    ReadAhead,
    ReadLog,
    Verify,
)
from agent.daemon.clock import Clock
from agent.daemon.effectors.ahead_lane import AheadLane
from agent.daemon.effectors.api import ApiAction, ApiEffector
from agent.daemon.effectors.lane import Lane
from agent.daemon.effectors.unit import UnitAction, UnitEffector, longest
from agent.daemon.sources.api import ApiSource
from agent.daemon.sources.journal import JournalSource
from agent.daemon.sources.thread import Emit, SourceThread


@dataclass(slots=True)
class ServiceThreads:
    """Two threads that look and two that act, and one that reads ahead where that is needed."""

    journal: JournalSource
    api: ApiSource
    sources: tuple[SourceThread, ...]
    unit_lane: Lane[UnitAction]
    api_lane: Lane[ApiAction]
    ahead: AheadLane

    def submit(self, action: OwnAction) -> None:
        """Hand an action to who carries it out."""
        match action:
            case FollowLog():
                self.journal.follow(action.invocation_id)
            case ReadLog():
                self.journal.conclude(action.invocation_id)
            case Verify() | Canary():
                self.api_lane.submit(action)
            case ListFiles() | ReadAhead() | ForgetFiles():
                self.ahead.submit(action)
            case _:
                self.unit_lane.submit(action)

    def replace_hung(self) -> None:
        """Let another thread act where one hangs: on files of a disk that does not answer."""
        self.unit_lane.replace_if_hung()
        self.api_lane.replace_if_hung()
        self.ahead.replace_if_hung()

    def close(self, timeout_seconds: float) -> None:
        """End all of them; what hangs is left behind."""
        for source in self.sources:
            source.ask_to_stop()
        self.unit_lane.close()
        self.api_lane.close()
        self.ahead.close()
        for source in self.sources:
            source.join(timeout_seconds)


def threads_of(
    journal: JournalSource,
    api: ApiSource,
    unit_effector: Callable[[Callable[[], tuple[str, ...]], Clock], UnitEffector],
    state: Path,
    emit: Emit,
    clock: Clock,
) -> ServiceThreads:
    """Return the threads of the service whose sources these are; none runs yet.

    `unit_effector` makes what acts on its unit, from its last lines and a clock, once it must act;
    `state` is the agent's own directory.
    """
    service = journal.service
    unit = partial(unit_effector, lambda: journal.last_lines, clock)
    http = ApiEffector(clock)
    return ServiceThreads(
        journal,
        api,
        (SourceThread(journal, clock), SourceThread(api, clock)),
        Lane(f"unit:{service}", lambda: unit().carry_out, unit().failed, emit, longest),
        Lane(f"http:{service}", lambda: http.carry_out, http.failed, emit),
        AheadLane(service, state, emit, clock),
    )
