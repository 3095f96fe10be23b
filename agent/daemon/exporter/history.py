# SPDX-License-Identifier: Apache-2.0
"""The history as the status page shows it: the sentences, not what was recorded beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.core.plain import plain, plain_name
from agent.core.secrets import without_any_secret
from agent.core.view.kinds import ENDS, LOUD, OPENS
from agent.host.store.store import Event, Store, StoredEvent

MOST = 200
"""Events of one answer; a page asks again for earlier ones."""

LONGEST = 1000
"""Characters of a sentence; the whole is in `llmagent events`."""


class History:
    """Reads the store's file anew for each question: nothing stays open, nothing is kept."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def read(self, after: int | None, before: int | None) -> Mapping[str, Any]:
        """Return the newest events before a number, or the oldest after one; see `document_of`.

        Raises StoreError when the file cannot be read.
        """
        with Store.read_only(self._file) as store:
            return document_of(store.sentences(MOST, after=after, before=before))


def document_of(events: Sequence[StoredEvent]) -> dict[str, Any]:
    """Return {"format", "more", "events": [{"id", "at_seconds", "service", "kind", "message"}]}.

    Oldest first; `more` tells whether there may be more beyond the last (or before the first). Each
    event has `loud` for a warning, and `edge`: "down" when its service is away from then on, "over"
    when it is back, or was stopped by an operator, else "".
    """
    return {
        "format": 1,
        "more": len(events) == MOST,
        "events": [_row(stored.id, stored.event) for stored in events],
    }


def _row(number: int, event: Event) -> dict[str, Any]:
    away = event.kind in OPENS or event.kind == "held"
    edge = "down" if away else "over" if event.kind in ENDS else ""
    return {
        "id": number,
        "at_seconds": event.at_seconds,
        "service": plain_name(event.service),
        "kind": plain_name(event.kind),
        "message": without_any_secret(plain(event.message, LONGEST)),
        "loud": event.kind in LOUD,
        "edge": edge if event.service else "",
    }
