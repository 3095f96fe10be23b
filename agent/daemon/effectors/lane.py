# SPDX-License-Identifier: Apache-2.0
"""Threads that carry out decisions: for each service one for its unit and one for its HTTP side.

A lane does one action after the other; a hung one delays its own service only, and is replaced once
it is beyond every deadline of an action: a kill must not wait for a file system that never answers.
What an action came to goes back on the queue as an observation.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import field
from typing import Generic, TypeVar

from agent.core.record import dataclass
from agent.core.state.observations import Observation
from agent.daemon.log import log

A = TypeVar("A")
CLOSE_SECONDS = 0.5
HUNG_SECONDS = 180.0
"""Longer than any action takes that has a deadline of its own, but for a drain."""
MOST_LEFT_BEHIND = 4
"""So many threads of a lane may hang: what hung them hangs the next one, too."""


@dataclass(eq=False, slots=True)
class _Turn(Generic[A]):
    """One thread's queue, and since when it is in an action."""

    carry_out: Callable[[A], Observation | None]
    queue: queue.SimpleQueue[A | None] = field(default_factory=queue.SimpleQueue)
    action: A | None = None
    since: float = 0.0


class Lane(Generic[A]):
    """Carries out actions in order; `make` gives what does one, which belongs to one thread.

    `seconds` is how long an action may take at most, by what is waited for in it.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], Callable[[A], Observation | None]],
        failed: Callable[[A, str], Observation],
        emit: Callable[[Observation], None],
        seconds: Callable[[A], float] = lambda _action: HUNG_SECONDS,
    ) -> None:
        self.name = name
        self._make = make
        self._failed = failed
        self._emit = emit
        self._seconds = seconds
        self._left_behind = 0
        self._now = self._begin()

    def submit(self, action: A) -> None:
        """Queue an action. From the thread that calls `replace_if_hung`."""
        self._now.queue.put(action)

    def replace_if_hung(self) -> None:
        """Let another thread go on where one is in an action beyond its deadline, and tell."""
        hung = self._now
        action, since = hung.action, hung.since
        if action is None or self._left_behind >= MOST_LEFT_BEHIND:
            return
        seconds = self._seconds(action)
        if time.monotonic() - since < seconds:
            return
        self._left_behind += 1
        self._now = self._begin()
        what = type(action).__name__
        sentence = f"{what} did not come back within {seconds:.0f} s: another thread goes on"
        log.error(f"{self.name}: {sentence}")
        self._emit(self._failed(action, sentence))
        # Only now, so that what became of the later actions is told after that of this one.
        with contextlib.suppress(queue.Empty):
            while True:
                self._now.queue.put(hung.queue.get_nowait())
        hung.queue.put(None)

    def close(self) -> None:
        """Let the lane end; an action that hangs is left behind (it is a daemon thread)."""
        self._now.queue.put(None)
        self._thread.join(CLOSE_SECONDS)

    def _begin(self) -> _Turn[A]:
        turn = _Turn(self._make())
        self._thread = threading.Thread(target=self._run, args=(turn,), name=self.name, daemon=True)
        self._thread.start()
        return turn

    def _run(self, turn: _Turn[A]) -> None:
        while (action := turn.queue.get()) is not None:
            turn.since, turn.action = time.monotonic(), action
            try:
                observation = turn.carry_out(action)
            # The one place for effectors: whatever goes wrong is news for decide.
            except Exception as error:  # noqa: BLE001
                sentence = str(error) or type(error).__name__
                log.error(f"{self.name} failed: {sentence}")
                observation = self._failed(action, sentence)
            turn.action = None
            if turn is not self._now:
                return  # it was told as failed, and another has taken its place
            if observation is not None:
                self._emit(observation)


class LateLane(Generic[A]):
    """A lane that `make` gives when the first action comes; without one there is no thread."""

    def __init__(self, make: Callable[[], Lane[A]]) -> None:
        self._make = make
        self._lane: Lane[A] | None = None

    def submit(self, action: A) -> None:
        """Queue an action. From the thread that calls `replace_if_hung`."""
        if self._lane is None:
            self._lane = self._make()
        self._lane.submit(action)

    def replace_if_hung(self) -> None:
        """Let another thread go on where one hangs."""
        if self._lane is not None:
            self._lane.replace_if_hung()

    def close(self) -> None:
        """Let the lane end, where there is one."""
        if self._lane is not None:
            self._lane.close()
