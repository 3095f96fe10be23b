# SPDX-License-Identifier: Apache-2.0
"""What is remembered across the agent's own death: the state and the history, in the store."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import structlog

from agent.core.codec import decode, encode
from agent.core.doctor.finding import Finding
from agent.core.state.card import Card
from agent.core.state.host import HostState, News
from agent.core.state.migrations import service_row
from agent.core.state.service import Live, ServiceState
from agent.daemon.sources.thread import SourceHealth
from agent.host.store.file import StoreError
from agent.host.store.keys import LAST_GOOD_CONFIG
from agent.host.store.store import Event, Store

log = structlog.get_logger()

HOST = "host"
SERVICE = "service:"
GPU = "gpu:"
CHECKUP = "checkup"
CURSOR = "cursor:"
NOT_STORED = frozenset({"live"})
NO_LIVE = Live()
KEEP_EVENTS = 100_000
KEEP_UNSAVED = 1000
"""What happened while the disk was full is kept in memory and written once there is room."""
KEEP_SECONDS = 400 * 86400.0


class Recorder:
    """Writes only what changed; a store that fails is told once and does not stop the agent."""

    def __init__(self, store: Store, volatile: str = "") -> None:
        """`volatile` says why the store is lost at the next boot, "" when it is not."""
        self._store = store
        self._known = store.load_state()
        self._volatile = volatile
        self._behind = False
        self._unsaved: list[Event] = []
        self.health = SourceHealth("store", up=not volatile, detail=volatile)

    def load(self) -> tuple[HostState, tuple[str, ...]]:
        """Return the state as last recorded, and a sentence for each part that was unreadable."""
        services: dict[str, ServiceState] = {}
        cards: dict[str, Card] = {}
        findings: tuple[Finding, ...] = ()
        problems: list[str] = []
        host = {"boot_id": "", "next_action_id": 1}
        for key, text in self._known.items():
            try:
                if key == HOST:
                    host = json.loads(text)
                elif key.startswith(SERVICE):
                    service = decode(ServiceState, service_row(json.loads(text)))
                    services[service.name] = service
                elif key.startswith(GPU):
                    card = decode(Card, json.loads(text))
                    cards[card.uuid] = card
                elif key == CHECKUP:
                    findings = tuple(decode(Finding, entry) for entry in json.loads(text))
            except (ValueError, TypeError) as error:
                problems.append(f"what was remembered as {key} cannot be read ({error}): forgotten")
        boot_id, next_id = str(host["boot_id"]), int(str(host["next_action_id"]))
        state = HostState(boot_id, next_id, services, cards=cards, findings=findings)
        return state, tuple(problems)

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

    def prune(self, now: float) -> None:
        """Drop the oldest history beyond what is kept."""
        try:
            self._store.prune(KEEP_EVENTS, now - KEEP_SECONDS)
        except StoreError as error:
            log.warning(f"the history could not be pruned: {error}")


def _changes(old: HostState, new: HostState) -> dict[str, str]:
    changed: dict[str, str] = {}
    if (old.boot_id, old.next_action_id) != (new.boot_id, new.next_action_id):
        changed[HOST] = json.dumps({"boot_id": new.boot_id, "next_action_id": new.next_action_id})
    if old.findings != new.findings:
        changed[CHECKUP] = json.dumps([encode(finding) for finding in new.findings])
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
