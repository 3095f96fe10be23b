# SPDX-License-Identifier: Apache-2.0
"""/cluster.json: what this host tells the other hosts of its groups of its own ranks."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable

from agent.core.cluster.member import FORMAT
from agent.core.plain import plain_values
from agent.core.view.snapshot import Snapshot

HELD_SECONDS = 0.5
"""All hosts of a group ask every second or two: what was just made serves them all."""


class ClusterWord:
    """Makes the document at most twice a second; `document` may be called from any thread."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot
        self._made_at = -HELD_SECONDS
        self._document = b""

    def document(self) -> bytes:
        """Return {"format", "version", "at_seconds", "host", "services": {NAME: its rank's word}}.

        Two that ask at once may both make it: that costs less than a lock that is held by one.
        """
        now = time.monotonic()
        if now - self._made_at >= HELD_SECONDS:
            self._document = _document(self._snapshot())
            self._made_at = now
        return self._document


def _document(snapshot: Snapshot) -> bytes:
    words = {s.name: s.cluster.own for s in snapshot.services if s.cluster is not None}
    document = {
        "format": FORMAT,
        "version": snapshot.version,
        "at_seconds": snapshot.at_seconds,
        "host": socket.gethostname(),
        "services": words,
    }
    return json.dumps(plain_values(document), separators=(",", ":")).encode()
