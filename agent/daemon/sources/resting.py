# SPDX-License-Identifier: Apache-2.0
"""The base of sources that ask, then rest, and keep nothing open in between."""

from __future__ import annotations

import threading


class RestingSource:
    """What such a source needs besides `name` and `look`, which ends with a `rest`."""

    def __init__(self) -> None:
        self._woken = threading.Event()

    def wake(self) -> None:
        """End the rest, or skip the next. From any thread."""
        self._woken.set()

    def rest(self, seconds: float) -> None:
        """Sleep until it is time or `wake` is called."""
        self._woken.wait(seconds)
        self._woken.clear()

    def close(self) -> None:
        """Nothing is kept open between two calls of `look`."""
