# SPDX-License-Identifier: Apache-2.0
"""What other hosts say, for the status page: asked only while somebody looks, and not too often."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from agent.errors import AgentError

EVERY_SECONDS = 15.0


class FleetDocument:
    """Hands out the latest answer; `latest` may be called from any thread, one at a time asks."""

    def __init__(
        self, ask: Callable[[], bytes], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`ask` gives the document, or raises AgentError."""
        self._ask = ask
        self._clock = clock
        self._turn = threading.Lock()
        self._due = 0.0
        self._last: bytes | None = None
        self._problem = "the other hosts are being asked"

    def latest(self) -> bytes:
        """Return the document, after asking where the last one is older than 15 s.

        Who comes while another one asks gets the last one. Raises AgentError where there is none.
        """
        if self._turn.acquire(blocking=False):
            try:
                self._ask_if_due()
            finally:
                self._turn.release()
        if self._last is None:
            raise AgentError(self._problem)
        return self._last

    def _ask_if_due(self) -> None:
        if self._clock() < self._due:
            return
        try:
            self._last = self._ask()
        except AgentError as error:
            # What was true a while ago is not shown as if it were so now.
            self._last, self._problem = None, str(error)
        self._due = self._clock() + EVERY_SECONDS
