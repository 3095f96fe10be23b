# SPDX-License-Identifier: Apache-2.0
"""The control socket with a real thread behind it, and a deciding thread that only answers."""

from __future__ import annotations

import queue
import socket
import time
from pathlib import Path

from agent.core.state.observations import Observation
from agent.core.state.steering.asked import Answer, OperatorAsked
from agent.daemon.clock import agent_clock
from agent.daemon.sources.control import ControlSource
from agent.daemon.sources.thread import SourceThread

SECONDS = 10.0


class Answering:
    """Notes what is asked and says what it is told to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.asked: queue.SimpleQueue[OperatorAsked] = queue.SimpleQueue()
        self.done, self.message, self.unrecorded = True, "it is so", ""
        self.source = ControlSource(path, self._emit, agent_clock())
        self.thread = SourceThread(self.source, agent_clock())
        self.thread.start()
        self._wait()

    def close(self) -> None:
        """Ends the thread; the socket goes with it."""
        self.thread.ask_to_stop()
        self.thread.join(SECONDS)

    def _emit(self, observation: Observation) -> None:
        assert isinstance(observation, OperatorAsked)
        self.asked.put(observation)
        late = Answer(observation.number - 1, done=False, message="late")
        self.source.answered(late, "")
        answer = Answer(observation.number, done=self.done, message=self.message)
        self.source.answered(answer, self.unrecorded)

    def _wait(self) -> None:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                if client.connect_ex(str(self.path)) == 0:
                    return
            time.sleep(0.01)
        raise AssertionError(f"nobody listens on {self.path}")
