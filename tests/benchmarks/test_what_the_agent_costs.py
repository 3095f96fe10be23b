# SPDX-License-Identifier: Apache-2.0
"""Memory, CPU share and scrapes of the installed agent, beside Debian's prometheus-node-exporter.

Both run in one machine at the same time; the figures are printed, none is asserted.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import Boot
from tests.rig import binds, scripted
from tests.rig.container import Container
from tests.rig.installed import Agent

SECONDS = 60
SCRAPES = 1000
AGENT_TOML = f"""\
[service.vllm]
model = "/srv/llama"
python = "{scripted.PYTHON}"
gpu_memory_utilization = 0.9
max_model_len = 4096
"""
SCRAPER = """\
import http.client, json, sys, time
def one(connection):
    began = time.perf_counter()
    connection.request("GET", "/metrics")
    size = len(connection.getresponse().read())
    return time.perf_counter() - began, size
result = {}
for port in map(int, sys.argv[2:]):
    connection = http.client.HTTPConnection("127.0.0.1", port)
    one(connection)
    took = sorted(one(connection)[0] for _ in range(int(sys.argv[1])))
    result[port] = took[len(took) // 2], took[len(took) * 99 // 100], one(connection)[1]
print(json.dumps(result))
"""


class Process:
    """A process inside the machine, by its number there."""

    def __init__(self, box: Container, pid: int) -> None:
        self._proc = f"/proc/{pid}"
        self._box = box

    def rss_kib(self) -> int:
        status = self._box.read(f"{self._proc}/status")
        return int(next(line for line in status.splitlines() if "VmRSS" in line).split()[1])

    def cpu_seconds(self) -> float:
        fields = self._box.read(f"{self._proc}/stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_what_the_agent_costs_beside_node_exporter(boot: Boot, tmp_path: Path) -> None:
    box = boot("bookworm", binds=[binds.scripted_engine()])
    agent = Agent(box)
    agent.install()
    scripted.set_scenario(box, {})
    agent.configure(AGENT_TOML)
    agent.wait("serving")
    program = "/usr/bin/prometheus-node-exporter"
    box.put(Path(program), program)
    box.run(["systemd-run", "--unit=peer", program, "--web.listen-address=127.0.0.1:9100"])
    box.wait_for(lambda: box.http_get(9100, "/metrics").status == 200, 20, "node_exporter")
    ours, peer = Process(box, agent.pid("llmagent")), Process(box, agent.pid("peer"))
    before = ours.cpu_seconds(), peer.cpu_seconds()
    box.run(["sleep", str(SECONDS)], timeout=SECONDS + 30)
    shares = [
        (process.cpu_seconds() - began) / SECONDS
        for process, began in zip((ours, peer), before, strict=True)
    ]
    script = tmp_path / "scrape.py"
    script.write_text(SCRAPER)
    said = subprocess.run(
        [
            *("nsenter", "-t", str(box.leader), "-n", "--", sys.executable, str(script)),
            *(str(SCRAPES), "9836", "9100"),
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    scrapes = json.loads(said)
    print(f"\n{'':28}{'llmagent':>12}{'node_exporter':>15}{'ratio':>8}")
    row("resident memory, MiB", ours.rss_kib() / 1024, peer.rss_kib() / 1024)
    row(f"CPU at rest, % ({SECONDS} s)", shares[0] * 100, shares[1] * 100)
    for index, name in enumerate(("scrape p50, ms", "scrape p99, ms")):
        row(name, scrapes["9836"][index] * 1e3, scrapes["9100"][index] * 1e3)
    row("scrape, KiB", scrapes["9836"][2] / 1024, scrapes["9100"][2] / 1024)


def row(name: str, ours: float, peer: float) -> None:
    ratio = f"{ours / peer:8.2f}" if peer else f"{'-':>8}"
    print(f"{name:28}{ours:12.2f}{peer:15.2f}{ratio}")
