# SPDX-License-Identifier: Apache-2.0
"""What goes between the agent and people: what they ask over its socket, what they are told."""

from __future__ import annotations

from pathlib import Path

from agent.core.state.actions import NotifyAction
from agent.core.state.steering.asked import Answer
from agent.daemon.clock import Clock
from agent.daemon.effectors.lane import Lane, LateLane
from agent.daemon.sources.control import ControlSource
from agent.daemon.sources.thread import Emit, SourceHealth
from agent.places import CONTROL_SOCKET, RUNTIME_DIRECTORY


class People:
    """The control socket, and a thread that tells: made for the first message, else never."""

    def __init__(self, runtime: Path, store: SourceHealth, emit: Emit, clock: Clock) -> None:
        """`store` says whether what is acknowledged outlives the agent."""
        socket = runtime / CONTROL_SOCKET.relative_to(RUNTIME_DIRECTORY)
        self.control = ControlSource(socket, emit, clock)
        self._store = store
        self._emit = emit
        self._clock = clock
        self._lane = LateLane(self._begun)

    def submit(self, action: Answer | NotifyAction) -> None:
        """Answer who asked, have a message sent, or the dead-man's switch asked for."""
        if isinstance(action, Answer):
            self.control.answered(action, "" if self._store.up else self._store.detail)
            return
        self._lane.submit(action)

    def replace_if_hung(self) -> None:
        """Let another thread send where one hangs."""
        self._lane.replace_if_hung()

    def close(self) -> None:
        """End the thread that tells; what it is sending is left to systemd."""
        self._lane.close()

    def _begun(self) -> Lane[NotifyAction]:
        from agent.daemon.effectors.notify import NotifyEffector  # for who is told of something

        tell = NotifyEffector(self._clock)
        return Lane("notify", lambda: tell.carry_out, tell.failed, self._emit)
