# SPDX-License-Identifier: Apache-2.0
"""From the death of the engine's process to the next one: llmagent beside Restart=always.

The peer is a plain unit with RestartSec=100ms that runs the same engine in the same machine.
"""

from __future__ import annotations

import json
import statistics

from tests.benchmarks.table.figures import keep
from tests.conftest import Boot
from tests.rig import binds, scripted
from tests.rig.installed import Agent, service_table

TIMES = 20
PLAIN = f"""\
[Service]
ExecStart={scripted.PYTHON} -m vllm.entrypoints.openai.api_server --model=/srv/llama --port=8001
Restart=always
RestartSec=100ms
"""
KILL = """\
import json, os, subprocess, sys, time
def show(unit):
    names = "MainPID,ExecMainStartTimestampMonotonic"
    text = subprocess.run(["systemctl", "show", unit, "-p", names], capture_output=True).stdout
    return dict(line.split("=") for line in text.decode().split())
unit = sys.argv[1]
pid = show(unit)["MainPID"]
killed = time.clock_gettime(time.CLOCK_MONOTONIC)
os.kill(int(pid), 9)
while (now := show(unit))["MainPID"] in ("0", pid):
    time.sleep(0.01)
print(json.dumps(int(now["ExecMainStartTimestampMonotonic"]) / 1e6 - killed))
"""


def test_how_fast_it_reacts_beside_a_plain_unit(boot: Boot) -> None:
    box = boot("bookworm", binds=[binds.scripted_engine()])
    agent = Agent(box)
    agent.install()
    scripted.set_scenario(box, {})
    box.write("/etc/systemd/system/plain.service", PLAIN)
    box.run(["systemctl", "daemon-reload"])
    box.run(["systemctl", "start", "plain"])
    table = service_table(gpu_memory_utilization=0.9, max_model_len=4096)
    # Each death is the first since the service settled, as one in the night would be.
    agent.configure(table.replace("settle_seconds = 20", "settle_seconds = 1"))
    took: dict[str, list[float]] = {"vllm": [], "plain": []}
    for _ in range(TIMES):
        agent.wait("serving")
        box.run(["sleep", "2.5"])
        for unit, seconds in took.items():
            said = box.run(["python3", "-c", KILL, f"{unit}.service"], timeout=60).stdout
            seconds.append(json.loads(said) * 1e3)
    print(f"\n{'death to next process, ms':28}{'llmagent':>12}{'Restart=always':>16}{'ratio':>8}")
    found: dict[str, float] = {}
    for name, figure in (("median", statistics.median), ("maximum", max)):
        ours, peer = figure(took["vllm"]), figure(took["plain"])
        print(f"{name:28}{ours:12.1f}{peer:16.1f}{ours / peer:8.2f}")
        found |= {f"{name}_ms": ours, f"plain_{name}_ms": peer}
    keep("reaction", found)
