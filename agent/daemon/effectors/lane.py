# SPDX-License-Identifier: Apache-2.0
"""Threads that carry out decisions: for each service one for its unit and one for its HTTP side.

A lane does one action after the other; a hung one delays its own service only. What an action came
to goes back on the queue as an observation.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import structlog

from agent.core.state.observations import Observation

log = structlog.get_logger()

A = TypeVar("A")
CLOSE_SECONDS = 0.5


class Lane(Generic[A]):
    """Carries out actions in order; `carry_out` returns what came of it, or None."""

    def __init__(
        self,
        name: str,
        carry_out: Callable[[A], Observation | None],
        failed: Callable[[A, str], Observation],
        emit: Callable[[Observation], None],
    ) -> None:
        self.name = name
        self._carry_out = carry_out
        self._failed = failed
        self._emit = emit
        self._queue: queue.SimpleQueue[A | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, action: A) -> None:
        """Queue an action. From any thread."""
        self._queue.put(action)

    def close(self) -> None:
        """Let the lane end; an action that hangs is left behind (it is a daemon thread)."""
        self._queue.put(None)
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while (action := self._queue.get()) is not None:
            try:
                observation = self._carry_out(action)
            # The one place for effectors: whatever goes wrong is news for decide.
            except Exception as error:  # noqa: BLE001
                sentence = str(error) or type(error).__name__
                log.error(f"{self.name} failed: {sentence}")
                observation = self._failed(action, sentence)
            if observation is not None:
                self._emit(observation)
