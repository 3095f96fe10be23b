# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from agent.core.settings.config import Metrics
from agent.core.view.snapshot import Snapshot
from agent.daemon.exporter.exporter import Exporter
from tests.given.certificates import self_signed
from tests.given.full_output import FULL
from tests.given.some_snapshot import SNAPSHOT
from tests.given.steering.sinks import free_port
from tests.project import dashboard
from tests.rig.paths import REPO

SCRAPES = """\
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: plain
    static_configs: [{{targets: ['127.0.0.1:{plain}']}}]
  - job_name: secured
    scheme: https
    tls_config: {{ca_file: own.crt, server_name: localhost}}
    basic_auth: {{username: prometheus, password: secret}}
    static_configs: [{{targets: ['127.0.0.1:{secured}']}}]
  - job_name: stranger
    scheme: https
    tls_config: {{ca_file: own.crt, server_name: localhost}}
    basic_auth: {{username: prometheus, password: guessed}}
    static_configs: [{{targets: ['127.0.0.1:{secured}']}}]
"""
OURS = """\
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: llmagent
    static_configs: [{{targets: ['127.0.0.1:{port}']}}]
"""
DEADLINE_SECONDS = 60.0


@contextmanager
def exporting(
    web_config_file: str = "", snapshot: Callable[[], Snapshot] = lambda: SNAPSHOT
) -> Iterator[int]:
    exporter = Exporter(snapshot, Metrics(port=0, web_config_file=web_config_file))
    exporter.start()
    try:
        yield exporter.port
    finally:
        exporter.close()


@contextmanager
def prometheus(directory: Path) -> Iterator[str]:
    port = free_port()
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def series_of(server: str, expression: str) -> list[dict[str, Any]]:
    """Returns each series that there is now, as Prometheus writes it."""
    address = f"{server}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    with urllib.request.urlopen(address, timeout=5) as answer:
        result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return result


def query(server: str, expression: str) -> dict[str, float]:
    """Returns the value of each job."""
    found = series_of(server, expression)
    return {series["metric"]["job"]: float(series["value"][1]) for series in found}


def eventually(server: str, expression: str, wanted: dict[str, float]) -> dict[str, float]:
    end = time.monotonic() + DEADLINE_SECONDS
    found: dict[str, float] = {}
    while found != wanted and time.monotonic() < end:
        with suppress(OSError):
            found = query(server, expression)
        time.sleep(0.2)
    return found


def test_debians_prometheus_scrapes_the_agent_with_and_without_tls_and_basic_auth(
    tmp_path: Path,
) -> None:
    self_signed(tmp_path, "own")
    stored = bcrypt.hashpw(b"secret", bcrypt.gensalt(10)).decode()
    web = tmp_path / "web.yml"
    web.write_text(
        "tls_server_config: {cert_file: own.crt, key_file: own.key}\n"
        f"basic_auth_users: {{prometheus: {stored}}}\n"
    )
    # The same file serves Prometheus itself: the format is exporter-toolkit's.
    subprocess.run(["promtool", "check", "web-config", web], check=True, timeout=60)
    with exporting() as plain, exporting(str(web)) as secured:
        (tmp_path / "prometheus.yml").write_text(SCRAPES.format(plain=plain, secured=secured))
        with prometheus(tmp_path) as server:
            wanted = {"plain": 1.0, "secured": 1.0, "stranger": 0.0}
            assert eventually(server, "up", wanted) == wanted
            both = {"plain": 1.0, "secured": 1.0}
            phase = 'llmagent_service_phase{service="vllm",phase="serving"}'
            assert eventually(server, phase, both) == both
            gap = (
                'sum by (job) (llmagent_service_setting_asked{setting="gpu_memory_utilization"})'
                ' - sum by (job) (llmagent_service_setting{setting="gpu_memory_utilization"})'
            )
            assert query(server, gap) == {job: pytest.approx(0.09) for job in both}


def at_work() -> Snapshot:
    """Returns a host that has everything, whose counters go on."""
    busy, *others = FULL.services
    assert busy.api is not None
    made = 1e6 + 100 * time.monotonic()
    api = replace(busy.api, generation_tokens=made, prompt_tokens=made, prefix_cache_queries=made)
    return replace(FULL, services=(replace(busy, api=api), *others))


def unanswered(server: str) -> list[str]:
    """Returns the dashboards' queries that have no series yet."""
    return [
        f"{where}: {expression}"
        for file in (dashboard.FILE, dashboard.FLEET)
        for where, expression in dashboard.queries(file)
        if not series_of(server, expression)
    ]


def test_every_query_of_the_dashboards_and_every_rule_works_in_a_real_prometheus(
    tmp_path: Path,
) -> None:
    with exporting(snapshot=at_work) as port:
        rules = REPO / "etc/prometheus/*.rules.yml"
        (tmp_path / "prometheus.yml").write_text(OURS.format(port=port, rules=rules))
        with prometheus(tmp_path) as server:
            end = time.monotonic() + DEADLINE_SECONDS
            missing = ["not asked yet"]
            while missing and time.monotonic() < end:
                with suppress(OSError):
                    missing = unanswered(server)
                time.sleep(0.5)
            assert missing == []
            held = 'ALERTS{alertname="LlmagentServiceHeld",alertstate="firing",service="embed"}'
            assert eventually(server, held, {"llmagent": 1.0}) == {"llmagent": 1.0}
            with urllib.request.urlopen(f"{server}/api/v1/rules", timeout=5) as answer:
                groups = json.load(answer)["data"]["groups"]
            health = {rule["name"]: rule["health"] for g in groups for rule in g["rules"]}
            assert health
            assert set(health.values()) == {"ok"}, health
