# SPDX-License-Identifier: Apache-2.0
"""The installed agent at work on simulated GPUs, scraped by Prometheus: the dashboard shows it."""

from __future__ import annotations

import time
import urllib.parse
from pathlib import Path
from typing import Any

from tests.conftest import Boot
from tests.container.test_power_and_heat import CAP, Machine
from tests.project import dashboard
from tests.rig import binds, scripted
from tests.rig.installed import service_table

PORT = 9090
SCRAPES = f"""\
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: llmagent
    static_configs: [{{targets: ['127.0.0.1:9836']}}]
  - job_name: prometheus
    static_configs: [{{targets: ['127.0.0.1:{PORT}']}}]
"""
NOT_HERE = {"Memory, B": "llmagent_host_service_memory_bytes"}
"""What a container without a memory controller of its own cannot show."""


def unanswered(machine: Machine) -> dict[str, str]:
    """Returns where each query is that has no series yet, and the query."""
    found = {}
    for where, query in dashboard.queries():
        path = f"/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        answer = machine.box.http_get(PORT, path)
        assert answer.status in (0, 200, 503), f"{where}: {answer.body}"
        document: Any = answer.json() if answer.status == 200 else {"data": {"result": []}}
        if not document["data"]["result"]:
            found[where] = query
    return found


def a_night(machine: Machine) -> None:
    """Has happen what some panels are for: a restart, an Xid, somebody else's power limit."""
    scripted.cue(machine.box, "engine-dead")
    machine.kernel_says(machine.gpus.run("xid", "0", "13"))
    machine.agent.box.wait_for(
        lambda: machine.agent.status()["restarts"], 40, "the restart after the engine's death"
    )
    machine.agent.wait("serving")
    machine.box.run(["nvidia-smi", "-i", "0", "-pl", "450"])
    machine.wait_for_limit(400)


def test_every_query_of_the_dashboard_shows_what_the_installed_agent_sees(
    boot: Boot, tmp_path: Path
) -> None:
    machine = Machine(boot("bookworm", binds=[binds.scripted_engine(), binds.simulated_gpus()]))
    machine.gpus.install("rtx4090", "h200")
    for card in (0, 1):
        machine.gpus.set(card, utilization=95, power_mw=380000)
    machine.agent.begin_anew()
    scripted.set_scenario(machine.box, {})
    machine.agent.configure(CAP, service_table())
    machine.agent.wait("serving")
    (tmp_path / "prometheus.yml").write_text(SCRAPES)
    server = machine.box.popen_on_host(
        [
            "prometheus",
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{PORT}",
        ]
    )
    try:
        a_night(machine)
        pid = machine.agent.pid("vllm")
        machine.gpus.set(0, processes=f"{pid}:{20 << 30}")
        end = time.monotonic() + 60
        missing = unanswered(machine)
        energy = 10**9
        while missing.keys() != NOT_HERE.keys() and time.monotonic() < end:
            machine.box.http_post(8000, "/v1/completions", {"prompt": "hi", "max_tokens": 4})
            energy += 400_000
            machine.gpus.set(0, energy_mj=energy)
            missing = unanswered(machine)
        assert missing.keys() == NOT_HERE.keys(), missing
        assert NOT_HERE["Memory, B"] in missing["Memory, B"]
        past: Any = machine.box.http_get(9836, "/past.json").json()
        assert "requests_running" in past["services"]["vllm"]
        assert len(past["gpus"]) == 2
        assert all("temperature_celsius" in card for card in past["gpus"].values())
    finally:
        server.terminate()
        server.communicate(timeout=30)
