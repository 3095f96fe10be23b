# SPDX-License-Identifier: Apache-2.0
"""Memory, CPU share and scrapes of the installed agent beside its peers, on 8 simulated GPUs.

The peers are nvitop-exporter, on the same simulated NVML, and Debian's prometheus-node-exporter.
All run in one machine at the same time. The figures are printed; asserted is only what the agent
promises: a scrape asks no GPU anything.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tests.benchmarks.processes import Process, scrape, table
from tests.benchmarks.table.figures import keep
from tests.conftest import Boot
from tests.rig import binds, scripted
from tests.rig.container import Bind, Container, Suite
from tests.rig.installed import Agent
from tests.rig.nvsim import Call, MachineGpus, calls_in

SECONDS = 60
SCRAPES = 1000
CARDS = 8
COUNT_SECONDS = 20
AGENT_TOML = f"""\
[service.vllm]
model = "/srv/llama"
python = "{scripted.PYTHON}"
gpu_memory_utilization = 0.9
max_model_len = 4096
"""
NODE_EXPORTER = "/usr/bin/prometheus-node-exporter"
PEERS = {
    "nvitop": (
        "env PYTHONPATH=/opt/peers /usr/bin/python3 -m nvitop_exporter "
        "--bind-address 127.0.0.1 --port 9401 --interval 1"
    ),
    "node": f"{NODE_EXPORTER} --web.listen-address=127.0.0.1:9100",
}
PORTS = (9836, 9401, 9100)
COLUMNS = ["llmagent", "nvitop-exporter", "node_exporter"]
LOG = "/dev/shm/nvml-calls"


def test_what_the_agent_costs_beside_its_peers(boot: Boot, tmp_path: Path) -> None:
    agent = at_work(boot, "bookworm", binds.peers())
    box = agent.box
    box.put(Path(NODE_EXPORTER), NODE_EXPORTER)
    for unit, command in PEERS.items():
        box.run(["systemd-run", f"--unit={unit}", *command.split()])
    for port in PORTS:
        answers = partial(answers_scrapes, box, port)
        box.wait_for(answers, 30, f"an exporter on port {port}")

    every = [Process(box, agent.pid(unit)) for unit in ("llmagent", *PEERS)]
    shares = shares_of_a_core(box, every)
    took = scrape(box, tmp_path, SCRAPES, *PORTS)
    memory = [process.rss_mib() for process in every]
    calls = [calls_a_second(agent, unit) for unit in ("llmagent", "nvitop")]
    table(
        COLUMNS,
        [
            ("resident memory, MiB", [*memory]),
            (f"CPU, % of a core ({SECONDS} s)", [share * 100 for share in shares]),
            ("scrape p50, ms", [one.p50 for one in took]),
            ("scrape p99, ms", [one.p99 for one in took]),
            ("scrape, KiB", [one.kib for one in took]),
            ("series", [one.series for one in took]),
            ("NVML calls a second", [*(sum(one.values()) for one in calls), None]),
        ],
    )
    found: dict[str, float] = {}
    for prefix, memory_mib, share, one in zip(
        ("", "nvitop_", "node_"), memory, shares, took, strict=True
    ):
        found |= {f"{prefix}memory_mib": memory_mib, f"{prefix}cpu_percent": share * 100}
        found |= {f"{prefix}p50_ms": one.p50, f"{prefix}p99_ms": one.p99}
        found |= {f"{prefix}series": float(one.series)}
    for prefix, counted in zip(("", "nvitop_"), calls, strict=True):
        found |= {f"{prefix}nvml_calls": sum(counted.values())}
    keep("costs", found)
    for function, rate in sorted(calls[0].items(), key=lambda item: -item[1]):
        print(f"  {rate:6.1f} a second  {function}")


def test_what_memory_the_agent_takes_on_debian_13(boot: Boot, tmp_path: Path) -> None:
    """The same work and the same age as beside the peers, which are there for Debian 12 alone."""
    agent = at_work(boot, "trixie")
    box = agent.box
    process = Process(box, agent.pid("llmagent"))
    box.run(["sleep", str(SECONDS)], timeout=SECONDS + 30)
    scrape(box, tmp_path, SCRAPES, PORTS[0])
    memory_mib = process.rss_mib()
    print(f"\nresident memory on Debian 13: {memory_mib:.1f} MiB")
    keep("costs-trixie", {"memory_mib": memory_mib})


def test_a_scrape_asks_no_gpu_anything(boot: Boot, tmp_path: Path) -> None:
    box = boot("bookworm", binds=[binds.simulated_gpus()])
    busy_cards(box)
    agent = Agent(box)
    agent.install()
    box.wait_for(lambda: "llmagent_gpu_power_watts" in agent.metrics(), 20, "the GPUs' metrics")
    log_calls(agent, "llmagent")
    box.wait_for(lambda: "llmagent_gpu_power_watts" in agent.metrics(), 20, "the GPUs' metrics")
    at_rest = len(calls_during(box, "llmagent", 10.0))
    began = time.monotonic()
    before = len(read_calls(box, "llmagent"))
    scrape(box, tmp_path, 2 * SCRAPES, 9836)
    made = len(read_calls(box, "llmagent")) - before
    lasted = time.monotonic() - began
    # Each of the two spans may begin or end within a look, of which there is one in two seconds;
    # 2000 scrapes would be 2000 looks otherwise.
    assert made <= at_rest / 10.0 * (lasted + 4.0)


def at_work(boot: Boot, suite: Suite, *more: Bind) -> Agent:
    """Returns the agent beside busy cards and a service that serves."""
    box = boot(suite, binds=[binds.scripted_engine(), binds.simulated_gpus(), *more])
    busy_cards(box)
    agent = Agent(box)
    agent.install()
    scripted.set_scenario(box, {})
    agent.configure(AGENT_TOML)
    agent.wait("serving")
    return agent


def busy_cards(box: Container) -> None:
    """Installs cards that have work, so that the agent looks every second."""
    gpus = MachineGpus(box)
    gpus.install(*["h200"] * CARDS)
    for card in range(CARDS):
        gpus.set(card, utilization=95, reasons=0, power_mw=612000)


def answers_scrapes(box: Container, port: int) -> bool:
    return box.http_get(port, "/metrics").status == 200


def shares_of_a_core(box: Container, processes: Sequence[Process]) -> list[float]:
    before = [process.cpu_seconds() for process in processes]
    box.run(["sleep", str(SECONDS)], timeout=SECONDS + 30)
    return [
        (process.cpu_seconds() - began) / SECONDS
        for process, began in zip(processes, before, strict=True)
    ]


def log_calls(agent: Agent, unit: str) -> None:
    """Starts the unit's program anew with a log of its NVML calls."""
    variable = f"NVSIM_LOG={LOG}.{unit}"
    if unit in PEERS:
        agent.box.run(["systemctl", "stop", unit])
        agent.box.run(
            ["systemd-run", f"--unit={unit}", f"--setenv={variable}", *PEERS[unit].split()]
        )
    else:
        drop_in = f"/etc/systemd/system/{unit}.service.d/log.conf"
        agent.box.write(drop_in, f"[Service]\nEnvironment={variable}\n")
        agent.box.run(["systemctl", "daemon-reload"])
        agent.box.run(["systemctl", "restart", unit])


def read_calls(box: Container, unit: str) -> list[Call]:
    return calls_in(box.read(f"{LOG}.{unit}"))


def calls_during(box: Container, unit: str, seconds: float) -> list[Call]:
    before = len(read_calls(box, unit))
    box.run(["sleep", str(seconds)], timeout=seconds + 30)
    return read_calls(box, unit)[before:]


def calls_a_second(agent: Agent, unit: str) -> dict[str, float]:
    """Returns by function how often a unit calls NVML once it runs."""
    log_calls(agent, unit)
    agent.box.wait_for(lambda: agent.box.exists(f"{LOG}.{unit}"), 30, "NVML calls")
    agent.box.run(["sleep", "10"])
    counted = Counter(call.function for call in calls_during(agent.box, unit, COUNT_SECONDS))
    return {function: count / COUNT_SECONDS for function, count in counted.items()}
