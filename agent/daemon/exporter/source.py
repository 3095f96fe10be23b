# SPDX-License-Identifier: Apache-2.0
"""Keeps the exporter up: a metrics port that is taken must not leave vLLM unattended."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from agent.core.past.past import Past
from agent.core.settings.config import Metrics
from agent.core.settings.fleet import Fleet
from agent.core.view.snapshot import Snapshot
from agent.daemon.clock import Clock, wall_clock_is_ahead_by
from agent.daemon.exporter.exporter import Exporter
from agent.daemon.exporter.history import History
from agent.daemon.exporter.page import Page

CHECK_SECONDS = 60.0


def page_of(
    snapshot: Callable[[], Snapshot], past: Past, store: Path, clock: Clock, fleet: Fleet
) -> Page:
    """Return the page that shows these, with the history of the store's file."""
    return Page(
        snapshot,
        lambda since: past.document(since, wall_clock_is_ahead_by(clock)),
        History(store).read,
        fleet=_document_of(fleet) if fleet.hosts else None,
    )


def _document_of(fleet: Fleet) -> Callable[[], bytes]:
    # Loaded by who names other hosts: memory.
    from agent.daemon.exporter.fleet import FleetDocument
    from agent.host.fleet.program import ask_fleet

    return FleetDocument(lambda: ask_fleet(fleet)).latest


class ExporterSource:
    """A source in form only: it is retried until it listens, and shows as source_up meanwhile."""

    name = "exporter"

    def __init__(
        self, snapshot: Callable[[], Snapshot], metrics: Metrics, page: Page | None = None
    ) -> None:
        self._snapshot = snapshot
        self._metrics = metrics
        self._page = page
        self._exporter: Exporter | None = None
        self._woken = threading.Event()

    def look(self) -> None:
        """Begin to listen if that was not possible before, then rest.

        Raises AgentError when the address is taken or the web config file is wrong: nothing is
        ever served with less protection than was asked for.
        """
        if self._exporter is None:
            exporter = Exporter(self._snapshot, self._metrics, self._page)
            exporter.start()
            self._exporter = exporter
            return
        self._woken.wait(CHECK_SECONDS)
        self._woken.clear()

    def wake(self) -> None:
        """End the rest. From any thread."""
        self._woken.set()

    def close(self) -> None:
        """Stop to listen."""
        if self._exporter is not None:
            self._exporter.close()
