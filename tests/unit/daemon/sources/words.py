# SPDX-License-Identifier: Apache-2.0
"""The real exporter of another host, with a word on its rank."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from agent.core.cluster.member import Member
from agent.core.codec import encode
from agent.core.settings.config import Metrics
from agent.core.view.cluster import ClusterView
from agent.core.view.snapshot import Snapshot
from agent.daemon.exporter.exporter import Exporter
from tests.given.some_snapshot import SNAPSHOT


def told(word: Member) -> Snapshot:
    view = ClusterView(0, True, False, 2, 7, "serving", None, (), encode(word))
    first, *others = SNAPSHOT.services
    return replace(SNAPSHOT, services=(replace(first, cluster=view), *others))


@contextmanager
def exporting(
    snapshot: Snapshot, web_config_file: str = "", listens: str = "127.0.0.1"
) -> Iterator[str]:
    """Serves a snapshot without the page, as [metrics] page = false does."""
    asked = Metrics(address=listens, port=0, web_config_file=web_config_file)
    exporter = Exporter(lambda: snapshot, asked)
    exporter.start()
    try:
        yield f"http://127.0.0.1:{exporter.port}"
    finally:
        exporter.close()
