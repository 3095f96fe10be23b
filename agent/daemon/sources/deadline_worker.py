# SPDX-License-Identifier: Apache-2.0
"""A thread for calls that may never return; who asks waits only so long."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class _Job(Generic[T]):
    """One call, and what became of it."""

    def __init__(self, call: Callable[[], T]) -> None:
        self.call = call
        self.done = threading.Event()
        self.result: T | None = None
        self.error: BaseException | None = None

    def carry_out(self) -> None:
        """Runs the call; its error is raised where it was asked for."""
        try:
            self.result = self.call()
        except BaseException as error:  # noqa: BLE001 - raised again by the one who asked
            self.error = error
        self.done.set()


class DeadlineWorker(Generic[T]):
    """Does one call at a time in a thread of its own, which a hung call cannot take with it.

    A call that misses its deadline goes on in there; what it comes to is dropped. Until then
    `busy` is true and nothing else may be asked.
    """

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[_Job[T] | None] = queue.SimpleQueue()
        self._current: _Job[T] | None = None
        # A daemon thread: the end of the agent does not wait for a hung driver.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether the last call has not returned yet."""
        return self._current is not None and not self._current.done.is_set()

    def do(self, call: Callable[[], T], seconds: float) -> T:
        """Return what the call gives, raise what it raises; TimeoutError at the deadline."""
        assert not self.busy, "the last call has not returned"
        self._current = job = _Job(call)
        self._jobs.put(job)
        if not job.done.wait(seconds):
            raise TimeoutError
        if job.error is not None:
            raise job.error
        return job.result  # type: ignore[return-value]  # no error: the call gave a T

    def close(self) -> None:
        """Let the thread end after its call; returns at once."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.carry_out()
