# SPDX-License-Identifier: Apache-2.0
"""Threads that look at the world and emit observations; a hung one hurts itself only."""

from __future__ import annotations

import math
import threading
import traceback
from collections.abc import Callable
from dataclasses import field
from typing import Protocol

from agent.core.record import dataclass
from agent.core.state.observations import Observation
from agent.daemon.clock import Clock
from agent.daemon.log import about, log

Emit = Callable[[Observation], None]


FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
SILENT_SECONDS = 180.0
"""Three times the longest rest of any source: a thread that was not heard of for so long hangs."""


class Source(Protocol):
    """Something that looks once, emits what it saw, and sleeps until there may be more."""

    name: str

    def look(self) -> None:
        """Look once; returns after a few seconds at most. An exception is reported and retried."""

    def wake(self) -> None:
        """Make a sleeping `look` return soon. From any thread."""

    def close(self) -> None:
        """Give back what is open; called once no thread looks any more."""


@dataclass(slots=True)
class SourceHealth:
    """Whether a source works; written by its thread, read by the loop.

    `silent_seconds` is how long ago `last_seconds` may be while it works.
    """

    name: str
    up: bool = False
    last_seconds: float = 0.0
    detail: str = "not looked yet"
    silent_seconds: float = math.inf


@dataclass(slots=True)
class LineCount:
    """Lines of a service's journal; written by the journal's thread, read by the loop."""

    read: int = 0
    suppressed: int = 0


@dataclass(slots=True)
class SourceThread:
    """Runs a source until told to stop; its failures are logged once each and retried."""

    source: Source
    clock: Clock
    health: SourceHealth = field(init=False)
    _stop: threading.Event = field(init=False, default_factory=threading.Event)
    _thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.health = SourceHealth(self.source.name, silent_seconds=SILENT_SECONDS)
        self._thread = threading.Thread(target=self._run, name=self.source.name, daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def ask_to_stop(self) -> None:
        """Return at once; the thread ends after the look that it is in."""
        self._stop.set()
        self.source.wake()

    def join(self, timeout_seconds: float) -> None:
        """Wait for the end of the thread and close its source.

        A hung thread is left behind with what it has open (it is a daemon thread). The source is
        not closed by its own thread: `wake` could then meet a descriptor that is closed.
        """
        self._thread.join(timeout_seconds)
        if not self._thread.is_alive():
            self.source.close()

    def _run(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._stop.is_set():
            try:
                self.source.look()
            # The one place for sources: whatever goes wrong shows as source_up 0 and is retried.
            except Exception as error:  # noqa: BLE001
                self._failed(error)
                self._stop.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            else:
                pause = FIRST_PAUSE_SECONDS
                self._worked()

    def _worked(self) -> None:
        if not self.health.up:
            log.info(f"source {self.source.name} is up")
        self.health.up, self.health.detail = True, ""
        self.health.last_seconds = self.clock()

    def _failed(self, error: Exception) -> None:
        sentence = str(error) or type(error).__name__
        if self.health.detail != sentence:
            where = traceback.extract_tb(error.__traceback__)[-1]
            at = f"{where.filename.rpartition('/')[2]}:{where.lineno}"
            log.warning(f"source {self.source.name} failed: {sentence}", extra=about(at=at))
        self.health.up, self.health.detail = False, sentence
