# SPDX-License-Identifier: Apache-2.0
"""A scene on the air: the agent's own exporter serves it, with a store of its own."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.cli.fleet.__main__ import document
from agent.cli.fleet.table import row_of
from agent.core.settings.config import Metrics
from agent.core.view.snapshot import Snapshot
from agent.daemon.exporter.exporter import Exporter
from agent.daemon.exporter.fleet import FleetDocument
from agent.daemon.exporter.history import History
from agent.daemon.exporter.page import Page
from agent.host.store.store import Event, Store
from tests.browser.scenes import NOW, Scene, past_of

READY = (
    "document.querySelector('.plot') && document.querySelector('.history li')"
    " && document.querySelector('.card') && (fleetless || document.querySelector('#fleet li'))"
)
"""Script that tells whether the page has shown all that it asks for."""


@dataclass
class Stage:
    """A scene on the air: what is put into `snapshot` is what the page is told from then on."""

    address: str
    snapshot: Snapshot
    store: Store
    exporter: Exporter

    def happens(self, kind: str, message: str, service: str = "vllm") -> None:
        """Writes an event of NOW into the history."""
        self.store.record({}, [Event(NOW, service, kind, message, {})])


@contextlib.contextmanager
def served(scene: Scene, directory: Path) -> Iterator[Stage]:
    """Serves the scene with the agent's own exporter."""
    file = directory / "store.db"
    store, _ = Store.open(file)
    with store:
        rows = scene.history
        store.record({}, [Event(NOW + at, who, kind, text, {}) for at, who, kind, text in rows])
        past = past_of(scene)
        page = Page(
            lambda: stage.snapshot,
            lambda since: past.document(since, 0.0),
            History(file).read,
            fleet=FleetDocument(lambda: _of_other_hosts(scene)).latest if scene.fleet else None,
        )
        exporter = Exporter(lambda: stage.snapshot, Metrics(port=0), page)
        stage = Stage(f"http://127.0.0.1:{exporter.port}/", scene.snapshot, store, exporter)
        exporter.start()
        try:
            yield stage
        finally:
            exporter.close()


def _of_other_hosts(scene: Scene) -> bytes:
    hosts = [told.host for told in scene.fleet]
    return json.dumps(document(hosts, [row_of(told) for told in scene.fleet], NOW)).encode()
