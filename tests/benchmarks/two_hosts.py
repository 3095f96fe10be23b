# SPDX-License-Identifier: Apache-2.0
"""One model over two booted machines on real vLLM: how long all ranks are away, after which death.

Usage: python -m tests.benchmarks.two_hosts [KIND...], of `split` (--nnodes 2), `replicas` (data
parallel, one on each host behind the head) and `hybrid` (data parallel, two on each host, and each
takes requests for its own); all by default.

After each death the ranks of both machines are to serve again, without a person. Printed are the
seconds from the death to the end of the last old process on either machine, and to the first
answered request, what each machine's history tells of it, and what verification proves. Agents that
ask idle engines, or are killed, are to cost no rank.
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
MEMORY = 5 * 2**30
CANARY_SECONDS = 20
SHARES = {"split": 0.5, "replicas": 0.5, "hybrid": 0.2}
"""Of a host's memory that each of its engines takes for its cache."""

LIMIT_SECONDS = 900
TOML = f"""\
[service.vllm]
model = "{MODEL}"
python = "/opt/vllm/bin/python"
host = "0.0.0.0"
max_model_len = 1024
max_num_seqs = 4
enforce_eager = true
environment = {{ VLLM_USE_AOT_COMPILE = "0", VLLM_CPU_OMP_THREADS_BIND = "nobind" }}
"""
KINDS = ("split", "replicas", "hybrid")
TITLES = {
    "split": "VLLM::Worker_TP1",
    "replicas": "VLLM::EngineCore_DP1",
    "hybrid": "VLLM::EngineCore_DP3",
}
"""Of the process that computes on the other machine."""


def configure(kind: str, agents: list[Agent]) -> None:
    """Have both machines serve together."""
    addresses = [agent.box.cable.address for agent in agents]
    for rank, agent in enumerate(agents):
        if kind == "split":
            size = "tensor_parallel_size = 2"
        elif kind == "replicas":
            size = "data_parallel_size = 2\n" + "api_server_count = 1" * (not rank)
        else:
            size = "data_parallel_size = 4\napi_server_count = 1"
        size += f"\ngpu_memory_utilization = {SHARES[kind]}"
        watch = f"[service.vllm.recovery]\ncanary_every_seconds = {CANARY_SECONDS}"
        tables = two_host_tables(kind, rank, addresses)
        agent.box.write(CONFIG, f"{TOML}{size}\n{watch}\n{tables}")
        agent.box.run(["systemctl", "restart", "llmagent"])


def processes(box: Container) -> set[int]:
    """Return the processes of the service's unit."""
    path = "/sys/fs/cgroup/system.slice/vllm.service/cgroup.procs"
    hybrid = "/sys/fs/cgroup/systemd/system.slice/vllm.service/cgroup.procs"
    said = box.run(["sh", "-c", f"cat {path} {hybrid} 2>/dev/null"], check=False).stdout
    return set(map(int, said.split()))


def answered(agents: list[Agent]) -> bool:
    """Tell whether both agents say that they serve, and each that takes requests answers one."""
    shown = [agent.status() for agent in agents]
    if any(one.get("phase") != "serving" for one in shown):
        return False
    body = {"model": MODEL, "prompt": "hello", "max_tokens": 2}
    return all(
        agent.box.http_post(8000, "/v1/completions", body, timeout=120).status == 200
        for agent, one in zip(agents, shown, strict=True)
        if not one["cluster"]["headless"]
    )


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


def left_alone(agents: list[Agent]) -> None:
    """Wait for some questions of the agents' own to idle engines; none of them may cost a rank."""
    old = [processes(agent.box) for agent in agents]
    seen = [len(agent.events()) for agent in agents]
    time.sleep(3 * CANARY_SECONDS)
    same = [processes(agent.box) for agent in agents] == old
    told = [e["message"] for a, n in zip(agents, seen, strict=True) for e in a.events()[n:]]
    print(f"idle for {3 * CANARY_SECONDS} s: ranks {'as before' if same else 'NEW'}, told {told}")


def proven(agent: Agent) -> str:
    """Return what the verification of the head's run found, in one line."""
    checks = agent.status()["verification"]
    verdicts = [check["verdict"] for check in checks]
    counts = (f"{verdicts.count(one)} {one}" for one in sorted(set(verdicts)))
    names = ", ".join(check["item"] for check in checks if check["verdict"] == "proven")
    others = [
        f"{check['item']}: {check['evidence']}" for check in checks if check["verdict"] != "proven"
    ]
    return f"{', '.join(counts)} (proven: {names}; others: {others})"


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
        for name, agent in zip(("head", "other"), agents, strict=True):
            print(f"  {name}: {proven(agent)}", flush=True)
        left_alone(agents)
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
