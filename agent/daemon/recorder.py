# SPDX-License-Identifier: Apache-2.0
"""What is remembered across the agent's own death: the state and the history, in the store."""

from __future__ import annotations

import contextlib
import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

from agent.core.codec import encode
from agent.core.state.host import HostState, News
from agent.core.state.rows.stored import (
    CHECKUP,
    GPU,
    HOST,
    OUTBOX,
    PAUSE,
    SERVICE,
    state_of,
)
from agent.core.state.service import Live
from agent.daemon.log import log
from agent.daemon.sources.thread import SourceHealth
from agent.host.machine.line_mark import LineMark
from agent.host.store.file import StoreError
from agent.host.store.keys import LAST_GOOD_CONFIG
from agent.host.store.store import Event, Store

CURSOR = "cursor:"
STOPPED = "stopped"
NOT_STORED = frozenset({"live"})
NO_LIVE = Live()
KEEP_EVENTS = 100_000
KEEP_UNSAVED = 1000
"""What happened while the disk was full is kept in memory and written once there is room."""
LONGEST_MESSAGE = 4000
LONGEST_DATA = 100_000


class Recorder:
    """Writes only what changed; a store that fails is told once and does not stop the agent."""

    def __init__(self, store: Store, volatile: str = "", mark: LineMark | None = None) -> None:
        """`volatile` says why the store is lost at the next boot, "" when it is not.

        `mark` is for the row that is being read, which the next process leaves out where this one
        ends with it.
        """
        self._store = store
        self._mark = mark or LineMark()
        self._known = store.load_state()
        self._volatile = volatile
        self._behind = False
        self._unsaved: list[Event] = []
        self.health = SourceHealth("store", up=not volatile, detail=volatile)

    @property
    def file(self) -> Path:
        """The store's file, for who reads the history."""
        return self._store.path

    def load(self) -> tuple[HostState, tuple[str, ...]]:
        """Return the state as last recorded, and a sentence for each part that was unreadable."""
        names = {key: _name_of_row(key, text) for key, text in self._known.items()}
        fatal = [key for key, name in names.items() if name in self._mark.known]
        rows = {key: text for key, text in self._known.items() if key not in fatal}
        state, problems = state_of(rows, lambda key: self._mark.reads(names[key]))
        self._mark.has_read()
        why = "was being read when an earlier process of llmagent ended: it is left out"
        return state, (*(f"what was remembered as {key} {why}" for key in fatal), *problems)

    def cursor(self, service: str) -> str | None:
        """Return how far the service's journal had been read."""
        return self._known.get(CURSOR + service) or None

    def last_good_config(self) -> str | None:
        """Return the text of the agent.toml that was last in force, if there was one."""
        text = self._known.get(LAST_GOOD_CONFIG)
        return None if text is None else str(json.loads(text))

    def keep_config(self, file: Path) -> None:
        """Remember the text of an agent.toml that is valid, for a start with a broken one."""
        with contextlib.suppress(OSError, UnicodeDecodeError):
            self._write({LAST_GOOD_CONFIG: json.dumps(file.read_text())}, (), ())

    def was_stopped(self) -> bool:
        """Tell whether the last process of the agent was asked to stop, and forget that.

        One that was not, in an earlier boot, ended with its host.
        """
        text = self._known.get(STOPPED)
        self._write({STOPPED: "false"}, (), ())
        return text != "false"

    def stopped(self) -> None:
        """Remember that the agent was asked to stop."""
        self._write({STOPPED: "true"}, (), ())

    def record(
        self,
        old: HostState,
        new: HostState,
        news: Sequence[News],
        at: float,
        cursors: dict[str, str] | None = None,
    ) -> None:
        """Write what differs and the news, in one transaction, before anything is done."""
        changed = _changes(HostState() if self._behind else old, new)
        changed |= {CURSOR + name: cursor for name, cursor in (cursors or {}).items()}
        events = [Event(at, line.service, line.kind, line.message, line.data) for line in news]
        gone = [SERVICE + name for name in old.services if name not in new.services]
        gone += [GPU + uuid for uuid in old.cards if uuid not in new.cards]
        if self._write(changed, events, gone):
            self.health.last_seconds, self._behind = at, False

    def _write(self, state: dict[str, str], events: Sequence[Event], gone: Sequence[str]) -> bool:
        changed = {key: text for key, text in state.items() if self._known.get(key) != text}
        events = [*self._unsaved, *events]
        if not changed and not events and not gone:
            return False
        events = [_recordable(event) for event in events]
        try:
            self._store.record(changed, events)
            if gone:
                self._store.delete_state(gone)
        except StoreError as error:
            if self.health.up:
                log.error(f"{error}; the agent goes on without recording")
            self.health.up, self.health.detail = False, str(error)
            self._behind, self._unsaved = True, events[-KEEP_UNSAVED:]
            return False
        self._unsaved = []
        self._known.update(changed)
        self.health.up, self.health.detail = not self._volatile, self._volatile
        return True

    def prune(self) -> None:
        """Drop the oldest history beyond what is kept: by number, as no clock is to be relied on.

        A clock that is two years ahead for an hour would make all of it old.
        """
        try:
            self._store.prune(KEEP_EVENTS)
        except StoreError as error:
            log.warning(f"the history could not be pruned: {error}")


def _name_of_row(key: str, text: str) -> str:
    """Return a name for a row as it is now: written anew, it may be read again."""
    return f"{key[:100]} {zlib.crc32(text.encode(errors='replace')):08x}"


def _recordable(event: Event) -> Event:
    """Return the event as any reader takes it: a line that cannot be written stops all others."""
    at = event.at_seconds if math.isfinite(event.at_seconds) else 0.0
    message = event.message[:LONGEST_MESSAGE].encode("utf-8", "replace").decode()
    data = json.dumps(dict(event.data), default=str)
    if len(data) > LONGEST_DATA:
        data = '{"left_out": "more than is recorded with an event"}'
    return replace(event, at_seconds=at, message=message, data=json.loads(data))


_HOST_FIELDS = ("boot_id", "next_action_id", "booted_at")
_of_the_host = attrgetter(*_HOST_FIELDS)


def _changes(old: HostState, new: HostState) -> dict[str, str]:
    changed: dict[str, str] = {}
    if (host := _of_the_host(new)) != _of_the_host(old):
        changed[HOST] = json.dumps(dict(zip(_HOST_FIELDS, host, strict=True)))
    if old.findings != new.findings:
        changed[CHECKUP] = json.dumps([encode(finding) for finding in new.findings])
    if _is_new(old, new):
        changed[OUTBOX] = json.dumps(encode(new.outbox, NOT_STORED))
    if old.pause != new.pause:
        changed[PAUSE] = json.dumps(encode(new.pause))
    for name, s in new.services.items():
        before = old.services.get(name)
        if s is before:
            continue
        if before is None or replace(s, live=NO_LIVE) != replace(before, live=NO_LIVE):
            changed[SERVICE + name] = json.dumps(encode(s, NOT_STORED))
    for uuid, card in new.cards.items():
        known = old.cards.get(uuid)
        if card is known:
            continue
        if known is None or replace(card, live=known.live) != known:
            changed[GPU + uuid] = json.dumps(encode(card, NOT_STORED))
    return changed


def _is_new(old: HostState, new: HostState) -> bool:
    """Tell whether what is stored of the outbox differs."""
    before, after = old.outbox, new.outbox
    if before is None or after is None or before is after:
        return before is not after
    return replace(before, live=after.live) != after
