# SPDX-License-Identifier: Apache-2.0
"""What the fetch says on its standard output: lines of "llmagent-fetch WORD key=value ..."."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.fetch.hub import Repository

FIRST_SECONDS = 1.0
LATER_SECONDS = 5.0
OFTEN_SECONDS = 30.0
"""A line a second at first, and for downloads of hours one in five seconds."""

SPEED_SECONDS = 15.0
GIB = 1 << 30


def say(word: str, text: str) -> None:
    """Print one line for the agent and for whoever reads the journal."""
    print(f"llmagent-fetch {word} {text}", flush=True)


class Reporter:
    """Checks that there is room, then tells how far the fetch is until it ends."""

    def __init__(self, repository: Repository, wanted: Sequence[str], reserve: int) -> None:
        self._repository = repository
        self._wanted = wanted
        self._reserve = reserve
        self._total = sum(repository.files[name].size for name in wanted)
        self._samples: deque[tuple[float, int]] = deque()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        """Say what is to be done; raises OSError (ENOSPC) when the disk has not the room."""
        missing = self._repository.missing(self._wanted)
        place = self._repository.storage
        disk = os.statvfs(place)
        free = disk.f_bavail * disk.f_frsize
        say(
            "plan",
            f"files={len(self._wanted)} total={self._total} missing={missing} free={free} "
            f"reserve={self._reserve} commit={self._repository.commit} in={place}",
        )
        if missing and missing + self._reserve > free:
            text = (
                f"No space left on device: {missing / GIB:.1f} GiB are to be fetched and "
                f"{self._reserve / GIB:.1f} GiB to stay free, {free / GIB:.1f} GiB are free"
            )
            raise OSError(errno.ENOSPC, text, str(place))
        self._tell()
        self._thread.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._tell()

    def _run(self) -> None:
        began = time.monotonic()
        while True:
            young = time.monotonic() - began < OFTEN_SECONDS
            if self._stop.wait(FIRST_SECONDS if young else LATER_SECONDS):
                return
            self._tell()

    def _tell(self) -> None:
        now, done = time.monotonic(), self._total - self._repository.missing(self._wanted)
        self._samples.append((now, done))
        while now - self._samples[0][0] > SPEED_SECONDS:
            self._samples.popleft()
        then, before = self._samples[0]
        speed = max(0.0, (done - before) / (now - then)) if now > then else 0.0
        say("progress", f"done={done} total={self._total} speed={speed:.0f}")
