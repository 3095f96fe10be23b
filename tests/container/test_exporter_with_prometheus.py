# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import bcrypt
import pytest

from agent.core.settings import Metrics
from agent.daemon.exporter import Exporter
from tests.unit.certificates import self_signed
from tests.unit.some_snapshot import SNAPSHOT

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
DEADLINE_SECONDS = 60.0


@contextmanager
def exporting(web_config_file: str = "") -> Iterator[int]:
    exporter = Exporter(lambda: SNAPSHOT, Metrics(port=0, web_config_file=web_config_file))
    exporter.start()
    try:
        yield exporter.port
    finally:
        exporter.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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


def query(server: str, expression: str) -> dict[str, float]:
    """Returns the value of each job."""
    address = f"{server}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    with urllib.request.urlopen(address, timeout=5) as answer:
        result = json.load(answer)["data"]["result"]
    return {series["metric"]["job"]: float(series["value"][1]) for series in result}


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
