# SPDX-License-Identifier: Apache-2.0
"""Two booted machines with the package and real vLLM, which serve together."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from tests.rig import binds
from tests.rig.container import Bind, Container
from tests.rig.installed import CONFIG, Agent, two_host_tables
from tests.rig.lan import Lan
from tests.rig.nspawn import wait

MODEL: Final = "/srv/models/tiny-llama"
PYTHON: Final = "/opt/vllm/bin/python"
NEWER: Final = "/opt/vllm-033/bin/python"
MEMORY: Final = 5 * 2**30
CANARY_SECONDS: Final = 20
LIMIT_SECONDS: Final = 900
NAMES: Final = ("head", "other")
SHARES: Final = {"split": 0.5, "ray": 0.5, "replicas": 0.5, "hybrid": 0.2, "external": 0.5}
"""Of a host's memory that each of its engines takes for its cache."""

SIZES: Final = {
    "split": "tensor_parallel_size = 2",
    "ray": "tensor_parallel_size = 2",
    "replicas": "data_parallel_size = 2",
    "hybrid": "data_parallel_size = 4\napi_server_count = 1",
    "external": """\
data_parallel_size = 2
extra_args = ["--hf-overrides", '{"num_experts": 1}']""",
}
"""External balancing is for models with experts alone, and the CPU build cannot send tokens to
those of other ranks (all_gatherv: NotImplementedError): so a dense model says that it has some."""

KINDS: Final = tuple(SIZES)
TITLES: Final = {
    "split": ("VLLM::Worker_TP0", "VLLM::Worker_TP1"),
    "replicas": ("VLLM::EngineCore_DP0", "VLLM::EngineCore_DP1"),
    "hybrid": ("VLLM::EngineCore_DP0", "VLLM::EngineCore_DP3"),
    "external": ("VLLM::EngineCore_DP0", "VLLM::EngineCore_DP1"),
}
"""Of the process that computes on each machine."""

TOML: Final = """\
[service.vllm]
model = "{model}"
python = "{python}"
host = "0.0.0.0"
max_model_len = 1024
max_num_seqs = 4
enforce_eager = true
environment = {{ VLLM_USE_AOT_COMPILE = "0", VLLM_CPU_OMP_THREADS_BIND = "nobind" }}
{size}
gpu_memory_utilization = {share}
[service.vllm.recovery]
canary_every_seconds = {canary}
"""
Process = str
"""Its PID and when it started: a machine that boots anew gives the same PIDs."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The agents of both machines, of which the first is the head's."""

    kind: str
    agents: tuple[Agent, Agent]

    @property
    def boxes(self) -> tuple[Container, Container]:
        """The machines."""
        return self.agents[0].box, self.agents[1].box

    def configure(self, pythons: Sequence[str] = (PYTHON, PYTHON)) -> None:
        """Have both machines serve together, each with a vLLM of its own."""
        addresses = [box.cable.address for box in self.boxes]
        for rank, box in enumerate(self.boxes):
            service = TOML.format(
                model=MODEL,
                python=pythons[rank],
                size=SIZES[self.kind],
                share=SHARES[self.kind],
                canary=CANARY_SECONDS,
            )
            # A new address to listen on needs a new process of the agent, which changes no run.
            how = "reload" if addresses[rank] in box.read(CONFIG) else "restart"
            box.write(CONFIG, service + two_host_tables(self.kind, rank, addresses))
            box.run(["systemctl", how, "llmagent"])

    def answered(self) -> bool:
        """Tell whether both say that they serve, and each that takes requests answers one."""
        shown = [agent.status() for agent in self.agents]
        if any(one.get("phase") != "serving" for one in shown):
            return False
        body = {"model": MODEL, "prompt": "hello", "max_tokens": 2}
        return all(
            box.http_post(8000, "/v1/completions", body, timeout=120).status == 200
            for box, one in zip(self.boxes, shown, strict=True)
            if not one["cluster"]["headless"]
        )

    def until_answered(self, what: str) -> None:
        """Wait until all is back."""
        wait(self.answered, LIMIT_SECONDS, what)

    def generation(self) -> int:
        """Return the one that both are of; AssertionError where they are not."""
        found = {agent.status()["cluster"]["generation"] for agent in self.agents}
        assert len(found) == 1, f"two that serve are of one generation, not {found}"
        return int(found.pop())


def processes(box: Container) -> set[Process]:
    """Return those of the service's unit."""
    paths = " ".join(
        f"/sys/fs/cgroup/{below}system.slice/vllm.service/cgroup.procs"
        for below in ("", "systemd/")
    )
    script = f'for pid in $(cat {paths} 2>/dev/null); do ps -o pid=,lstart= -p "$pid"; done'
    said = box.run(["bash", "-c", script], check=False).stdout
    return {line.strip() for line in said.splitlines()}


class Before:
    """What was so on both machines before something happened to them."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.ranks = [processes(box) for box in pair.boxes]
        self.generation = pair.generation()
        self.events = [len(agent.events()) for agent in pair.agents]
        self.began = time.monotonic()

    @property
    def seconds(self) -> float:
        """For how long it is happening."""
        return time.monotonic() - self.began

    def until_ended(self) -> list[float]:
        """Wait until no process of then is left; returns after how long on each machine."""
        gone: dict[int, float] = {}

        def are_gone() -> bool:
            for number, box in enumerate(self.pair.boxes):
                if number not in gone and not processes(box) & self.ranks[number]:
                    gone[number] = self.seconds
                    print(f"  {NAMES[number]}: no old rank after {self.seconds:.0f} s", flush=True)
            return len(gone) == len(NAMES)

        wait(are_gone, LIMIT_SECONDS, "the end of all ranks")
        return [gone[number] for number in range(len(NAMES))]

    def are_ranks_as_before(self) -> bool:
        """Tell whether nothing that computes was started anew."""
        return [processes(box) for box in self.pair.boxes] == self.ranks

    def told(self, *kinds: str) -> Iterator[str]:
        """Yield what each history tells since."""
        for name, agent, since in zip(NAMES, self.pair.agents, self.events, strict=True):
            for event in agent.events()[since:]:
                if event["kind"] in kinds:
                    yield f"{name}: {event['kind']}: {event['message'][:200]}"


def proven(agent: Agent) -> str:
    """Return what the verification of the head's run found, in one line."""
    checks: list[dict[str, Any]] = agent.status()["verification"]
    verdicts = [check["verdict"] for check in checks]
    counts = ", ".join(f"{verdicts.count(one)} {one}" for one in sorted(set(verdicts)))
    others = [
        f"{check['item']}: {check['evidence']}" for check in checks if check["verdict"] != "proven"
    ]
    return f"{counts}{'; '.join(['', *others])}"


@contextmanager
def machines(kind: str, *more: Bind) -> Iterator[Pair]:
    """Boot two machines on one switch and install the package."""
    with ExitStack() as on:
        lan = on.enter_context(Lan())
        seen = [binds.vllm(), binds.vllm_033(), binds.models(), *more]
        agents = []
        for name in NAMES:
            box = Container("bookworm", binds=seen, memory_limit=MEMORY, lan=lan)
            on.enter_context(box)
            box.write("/etc/hostname", f"{name}\n")
            box.run(["hostname", name])
            agents.append(Agent(box))
            agents[-1].install()
        yield Pair(kind, (agents[0], agents[1]))


@contextmanager
def serving(kind: str) -> Iterator[Pair]:
    """Do the same, and have them serve."""
    with machines(kind) as pair:
        pair.configure()
        began = time.monotonic()
        pair.until_answered("the first start of both")
        print(f"{kind}: answers {time.monotonic() - began:.0f} s after the configuration")
        for name, agent in zip(NAMES, pair.agents, strict=True):
            print(f"  {name}: {proven(agent)}", flush=True)
        yield pair


SPIN: Final = """\
for group in /sys/fs/cgroup/{,*/}system.slice/vllm.service/cgroup.procs; do
    echo $$ > $group
done 2>/dev/null
exec timeout 900 bash -c 'while :; do :; done'
"""


def spin(box: Container) -> None:
    """Have the unit hold one core until it is ended, as one that waits in NCCL: gloo sleeps."""
    box.run(["systemd-run", "--collect", "bash", "-c", SPIN])


def stand_still(box: Container, seconds: float, title: str) -> None:
    """Stop the processes of that title for a while, as on a machine that is overloaded."""
    which = shlex.quote(f"^{title}$")
    script = f"pkill -STOP --full {which}; sleep {seconds:g}; pkill -CONT --full {which}"
    box.run(["bash", "-c", script], timeout=seconds + 60)
