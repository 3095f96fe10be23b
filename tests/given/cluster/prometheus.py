# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus with the rules of the package, beside one of the hosts that it watches."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.rig.container import Container
from tests.rig.paths import REPO

PORT: Final = 9090
CONFIG: Final = """\
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: llmagent
    static_configs: [{{targets: {targets}}}]
"""


class Prometheus:
    """Asks it what is wrong."""

    def __init__(self, box: Container) -> None:
        self._box = box

    def state(self, alert: str, instance: str) -> str:
        """Returns "pending", "firing", or "" while nothing is wrong; `instance` as "10.0.0.1"."""
        answer = self._box.http_get(PORT, "/api/v1/alerts")
        if answer.status != 200:
            return ""
        for one in json.loads(answer.body)["data"]["alerts"]:
            labels = one["labels"]
            if labels["alertname"] == alert and labels["instance"] == f"{instance}:9836":
                return str(one["state"])
        return ""

    def until(self, alert: str, instance: str, state: str, seconds: float = 30.0) -> None:
        """Waits until it is in that state."""
        self._box.wait_for(
            lambda: self.state(alert, instance) == state,
            seconds,
            f"{alert} to be {state or 'well'}",
        )


@contextmanager
def watching(box: Container, addresses: Sequence[str], directory: Path) -> Iterator[Prometheus]:
    """Runs one in the network of a machine, as long as that is on; its files are in `directory`."""
    rules = REPO / "etc/prometheus/*.rules.yml"
    targets = [f"{address}:9836" for address in addresses]
    (directory / "prometheus.yml").write_text(CONFIG.format(rules=rules, targets=targets))
    program = [
        "prometheus",
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address=127.0.0.1:{PORT}",
    ]
    # Into a file: nobody reads a pipe.
    log = directory / "prometheus.log"
    with box.popen_on_host(["sh", "-c", 'exec "$@" >"$0" 2>&1', str(log), *program]) as process:
        try:
            yield Prometheus(box)
        finally:
            process.terminate()
