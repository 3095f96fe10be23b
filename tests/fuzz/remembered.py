# SPDX-License-Identifier: Apache-2.0
"""The border of the store's rows: what a row says is decided about, shown, stored and exported."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import zlib
from pathlib import Path

from prometheus_client.exposition import generate_latest
from prometheus_client.registry import CollectorRegistry

from agent.config.agent_toml import parse
from agent.core.engine.install import Engine
from agent.core.guard import Guard, as_shown, guarded
from agent.core.settings.notify import Notify
from agent.core.state.observations import AgentStarted, ConfigLoaded, Tick
from agent.core.state.policy import HostPolicy
from agent.core.state.rows.stored import state_of
from agent.core.telling.post import told
from agent.core.view.snapshot import to_json
from agent.daemon.metrics.collector import SnapshotCollector
from agent.daemon.publisher import Publisher
from tests.fuzz.driver import Border
from tests.rig.paths import REPO

NOW = 1764000100.0
AGENT_TOML = """
[service.vllm]
model = "org/model"
gpu_memory_utilization = 0.4
[service.embed]
model = "org/embed"
port = 8001
gpu_memory_utilization = 0.4
"""
KEYS = ("host", "service:vllm", "service:embed", "gpu:GPU-aa", "checkup", "pause", "outbox")


def state(directory: Path) -> Border:
    """Return the border; its seeds are the rows of each released version."""
    rows: dict[str, str] = {}
    for dump in sorted((REPO / "tests/unit/core/state/stored").glob("*.sql")):
        with contextlib.closing(sqlite3.connect(":memory:")) as store:
            store.executescript(dump.read_text())
            rows |= dict(store.execute("SELECT key, value FROM state").fetchall())
    config = parse(AGENT_TOML, "agent.toml")
    engine = Engine("0.32.0", has_vllm_metadata=True, flags=None)
    policy = HostPolicy(config.services, dict.fromkeys(config.services, engine), {}, {})
    publisher = Publisher(directory / "status.json", lambda: NOW + 60.0)
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(publisher.snapshot))

    def take(content: bytes) -> None:
        text = content.decode("utf-8", "replace")
        # In the place of one row, beside the others as they were.
        own = "service:vllm" if '"phase"' in text else KEYS[zlib.crc32(content) % len(KEYS)]
        _follow({**rows, own: text}, policy, publisher, registry)

    seeds = [text.encode() for text in rows.values()]
    words = (
        *(b'"phase": "held"', b'"learned": {', b'"held": {', b"null", b'"fetch": [1]', b'"future"'),
        *(b"1e999", b"-1e999", b"1e308", b'"\\ud800"', b"[[]]", b"9" * 400, b"true"),
    )
    return Border("state", take, seeds, words)


def _follow(
    rows: dict[str, str], policy: HostPolicy, publisher: Publisher, registry: CollectorRegistry
) -> None:
    found, _ = state_of(rows)
    guard = Guard()
    notify = Notify(urls_file="/none", dead_mans_switch_file="/none")
    for seen in (
        AgentStarted(NOW, "b" * 32),
        ConfigLoaded(NOW, reload=False),
        Tick(NOW + 1.0, 3600.0),
        Tick(NOW + 700.0, 4300.0),
    ):
        decision, guard = guarded(found, seen, policy, guard)
        found = told(decision, notify, seen.at, 3600.0).state
    assert not guard.aside, guard.aside
    assert not guard.told, guard.told
    publisher.publish(as_shown(found, guard), policy, ())
    shown = publisher.snapshot()
    assert not publisher.unshown, publisher.unshown
    json.dumps(to_json(shown), allow_nan=False)
    generate_latest(registry)
