# SPDX-License-Identifier: Apache-2.0
"""One model over two booted machines on real vLLM: how long all ranks are away, after which death.

Usage: python -m tests.benchmarks.two_hosts [KIND...], of `split` (--nnodes 2) and `replicas` (data
parallel); both by default. After each death the ranks of both machines are to serve again, without
a person. Printed are the seconds from the death to the end of the last old process on either
machine, and to the first answered request, what each machine's history tells of it, and what the
head's verification proves. Agents that are killed are to cost no rank.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import ExitStack

from tests.rig import binds
from tests.rig.container import Container
from tests.rig.installed import CONFIG, Agent, two_host_tables
from tests.rig.lan import Lan
from tests.rig.nspawn import wait

MODEL = "/srv/models/tiny-llama"
MEMORY = 4 * 2**30
LIMIT_SECONDS = 900
TOML = f"""\
[service.vllm]
model = "{MODEL}"
python = "/opt/vllm/bin/python"
host = "0.0.0.0"
max_model_len = 1024
max_num_seqs = 4
gpu_memory_utilization = 0.5
enforce_eager = true
environment = {{ VLLM_USE_AOT_COMPILE = "0", VLLM_CPU_OMP_THREADS_BIND = "nobind" }}
"""
KINDS = ("split", "replicas")
TITLES = {"split": "VLLM::Worker_TP1", "replicas": "VLLM::EngineCore_DP1"}
"""Of the process that computes on the other machine."""


def configure(kind: str, agents: list[Agent]) -> None:
    """Have both machines serve together."""
    addresses = [agent.box.cable.address for agent in agents]
    for rank, agent in enumerate(agents):
        if kind == "split":
            size = "tensor_parallel_size = 2"
        else:
            size = "data_parallel_size = 2\n" + "api_server_count = 1" * (not rank)
        tables = two_host_tables(kind, rank, addresses)
        agent.box.write(CONFIG, f"{TOML}{size}\n{tables}")
        agent.box.run(["systemctl", "restart", "llmagent"])


def processes(box: Container) -> set[int]:
    """Return the processes of the service's unit."""
    path = "/sys/fs/cgroup/system.slice/vllm.service/cgroup.procs"
    hybrid = "/sys/fs/cgroup/systemd/system.slice/vllm.service/cgroup.procs"
    said = box.run(["sh", "-c", f"cat {path} {hybrid} 2>/dev/null"], check=False).stdout
    return set(map(int, said.split()))


def answered(agents: list[Agent]) -> bool:
    """Tell whether both agents say that they serve, and a request is answered."""
    if any(agent.status().get("phase") != "serving" for agent in agents):
        return False
    body = {"model": MODEL, "prompt": "hello", "max_tokens": 2}
    return agents[0].box.http_post(8000, "/v1/completions", body, timeout=120).status == 200


def after(name: str, agents: list[Agent], dies: Callable[[], object]) -> None:
    """Print what a death costs, and what is told of it."""
    old = [processes(agent.box) for agent in agents]
    seen = [len(agent.events()) for agent in agents]
    began = time.monotonic()
    dies()
    left = wait(lambda: _seconds_without(agents, old, began), LIMIT_SECONDS, "the end of all ranks")
    wait(lambda: answered(agents), LIMIT_SECONDS, "the service to be back")
    back = time.monotonic() - began
    print(f"{name}: all old ranks gone after {left:.0f} s, answers after {back:.0f} s", flush=True)
    for who, agent, since in zip(("head", "other"), agents, seen, strict=True):
        for event in agent.events()[since:]:
            if event["kind"] in ("generation", "failure", "follow", "back"):
                print(f"  {who}: {event['message'][:160]}", flush=True)


def _seconds_without(agents: list[Agent], old: list[set[int]], began: float) -> float:
    """Return how long ago the death was once none of the old processes is left; 0 before."""
    if any(processes(agent.box) & pids for agent, pids in zip(agents, old, strict=True)):
        return 0.0
    return time.monotonic() - began


def agents_killed(agents: list[Agent]) -> None:
    """Kill both agents; the ranks are to go on as they are."""
    old = [processes(agent.box) for agent in agents]
    began = time.monotonic()
    for agent in agents:
        agent.box.run(["systemctl", "kill", "--signal=KILL", "llmagent"])
    wait(lambda: answered(agents), LIMIT_SECONDS, "the agents to be back")
    back = time.monotonic() - began
    same = [processes(agent.box) for agent in agents] == old
    print(f"both agents killed: ranks {'as before' if same else 'NEW'}, back after {back:.0f} s")


def proven(agent: Agent) -> str:
    """Return what the verification of the head's run found, in one line."""
    checks = agent.status()["verification"]
    verdicts = [check["verdict"] for check in checks]
    counts = (f"{verdicts.count(one)} {one}" for one in sorted(set(verdicts)))
    names = ", ".join(check["item"] for check in checks if check["verdict"] == "proven")
    return f"{', '.join(counts)} (proven: {names})"


def measure(kind: str) -> None:
    """Print the figures of one kind."""
    with ExitStack() as on:
        lan = on.enter_context(Lan())
        seen = [binds.vllm(), binds.models()]
        agents = []
        for name in ("head", "other"):
            box = Container("bookworm", binds=seen, memory_limit=MEMORY, lan=lan)
            on.enter_context(box)
            box.run(["hostname", name])
            agents.append(Agent(box))
            agents[-1].install()
        configure(kind, agents)
        began = time.monotonic()
        wait(lambda: answered(agents), LIMIT_SECONDS, "the first start of both")
        print(f"{kind}: answers {time.monotonic() - began:.0f} s after the configuration")
        print(f"  head: {proven(agents[0])}", flush=True)
        agents_killed(agents)
        head, other = (agent.box for agent in agents)
        pattern = ["pkill", "-KILL", "--full"]
        title = TITLES[kind]
        after(f"{title} killed", agents, lambda: other.run([*pattern, f"^{title}$"]))
        everything = ["systemctl", "kill", "--signal=KILL", "vllm"]
        after("all of the head killed", agents, lambda: head.run(everything))
        print(f"  head: {proven(agents[0])}", flush=True)


if __name__ == "__main__":
    for asked in sys.argv[1:] or KINDS:
        measure(asked)
