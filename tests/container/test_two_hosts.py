# SPDX-License-Identifier: Apache-2.0
"""One service over two booted machines: whatever dies or is cut, both come back together.

The engines are scripted, and behave between hosts as vLLM 0.32 was seen to. What lasts minutes, as
a cable that is cut for long, and groups of more hosts, are lived through in tests/nights/groups.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tests.conftest import Boot
from tests.given.cluster.prometheus import Prometheus, watching
from tests.rig import binds, scripted
from tests.rig.container import Container
from tests.rig.installed import CONFIG, OURS, Agent, deb, service_table, two_host_tables
from tests.rig.lan import Lan

BACK_SECONDS = 90.0
NAMES = ("head", "other")
SIZES = {
    "split": {"tensor_parallel_size": 2},
    "replicas": {"data_parallel_size": 2},
    "hybrid": {"data_parallel_size": 4},
}


@dataclass(frozen=True, slots=True)
class Pair:
    """Two installed agents on one switch; `head` is where requests go."""

    head: Agent
    other: Agent

    @property
    def both(self) -> tuple[Agent, Agent]:
        return self.head, self.other

    def configure(self, kind: str, **others: Any) -> None:
        """Has both serve one split model, or replicas; `others` are of the other host alone."""
        addresses = [agent.box.cable.address for agent in self.both]
        for rank, agent in enumerate(self.both):
            own = others if rank else {}
            settings = {**OURS, **SIZES[kind], "host": "0.0.0.0", **own}
            # A new address to listen on needs a new process of the agent.
            how = "reload" if addresses[rank] in agent.box.read(CONFIG) else "restart"
            met = two_host_tables(kind, rank, addresses)
            agent.box.write(CONFIG, service_table(**settings) + met)
            agent.box.run(["systemctl", how, "llmagent"])

    def serves(self) -> None:
        """Waits until both say so, and a request is answered."""
        for agent in self.both:
            agent.wait("serving", seconds=BACK_SECONDS)
        assert self.completes()

    def completes(self) -> bool:
        body = {"prompt": "hello", "max_tokens": 1}
        return self.head.box.http_post(8000, "/v1/completions", body, timeout=10).status == 200

    def pids(self) -> list[int]:
        return [agent.pid("vllm") for agent in self.both]

    def generations(self) -> list[int]:
        found = [agent.status()["cluster"]["generation"] for agent in self.both]
        assert found[0] == found[1], "two hosts that serve are of one generation"
        return found

    def after(self, happens: Callable[[], None]) -> list[int]:
        """Lets something happen to what serves; returns the PIDs of before, once all is back."""
        before, generation = self.pids(), self.generations()[0]
        happens()
        for agent in self.both:
            until(agent, lambda shown: shown["cluster"]["generation"] > generation, "a new life")
        self.serves()
        return before


@pytest.fixture(scope="module")
def pair(boot_for_module: Boot) -> Iterator[Pair]:
    """Returns two machines with the package, on one switch."""
    with Lan() as lan:
        agents = []
        for name in NAMES:
            box = boot_for_module("bookworm", binds=[binds.scripted_engine()], lan=lan)
            box.write("/etc/hostname", f"{name}\n")
            box.run(["hostname", name])
            agents.append(Agent(box))
        deb()  # built once, before two ask for it at once
        with ThreadPoolExecutor() as both:
            list(both.map(Agent.install, agents))
        yield Pair(*agents)


@pytest.fixture(scope="module")
def prometheus(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Returns one that watches both agents, from the head's side, through all stories."""
    box, addresses = pair.head.box, [agent.box.cable.address for agent in pair.both]
    with watching(box, addresses, tmp_path_factory.mktemp("prometheus")) as prometheus:
        yield prometheus


@pytest.fixture(scope="module")
def split(pair: Pair, prometheus: Prometheus) -> Pair:
    """Returns the pair as it serves one model that is split over both."""
    assert prometheus
    pair.configure("split")
    pair.serves()
    return pair


def until(agent: Agent, is_so: Callable[[dict[str, Any]], bool], what: str) -> None:
    """Waits for what `llmagent status` shows of the service."""
    agent.box.wait_for(lambda: is_so(agent.status()), BACK_SECONDS, what)


def is_down(agent: Agent) -> bool:
    return not agent.pid("vllm")


LISTENS = """
import socket
with socket.create_server(("", 7777)) as server:
    while True:
        there, _ = server.accept()
        while there.recv(100):
            pass
"""
SENDS = """
import pathlib, socket, sys, time
sys.path.insert(0, "/usr/lib/llmagent")
from agent.host.machine.tcp import is_cut_off
ends = time.monotonic() + 90
with socket.create_connection((sys.argv[1], 7777)) as there:
    print(is_cut_off({sys.argv[1]}))
    pathlib.Path("/run/connected").touch()
    while not is_cut_off({sys.argv[1]}) and time.monotonic() < ends:
        there.sendall(b".")
        time.sleep(0.2)
    print(is_cut_off({sys.argv[1]}), is_cut_off({"10.99.0.99"}))
"""
"""Says whether the agent would see a host as cut off, before and after it is."""


def kill(box: Container, title: str) -> None:
    """Kills the engine's process with that title."""
    box.run(["pkill", "-KILL", "--full", f"^{title}$"])


def told(agent: Agent, since: int, *kinds: str) -> list[str]:
    return [e["message"] for e in agent.events()[since:] if e["kind"] in kinds]


def test_both_start_together_and_the_silent_one_serves_with_its_head(split: Pair) -> None:
    head, other = (agent.status() for agent in split.both)
    assert head["cluster"]["head"]
    assert not head["cluster"]["headless"]
    assert other["cluster"]["headless"]
    assert other["cluster"]["peers"][0]["answers"]
    assert head["verification"], "requests are verified on the head"
    assert len(scripted.starts(split.head.box)) == 1
    assert scripted.starts(split.other.box)[-1].value("--node-rank") == "1"
    assert "the head" in told(split.other, 0, "serving")[-1]


@pytest.mark.parametrize(
    ("where", "title", "told_class"),
    [
        ("other", "VLLM::Worker_TP1", "worker-died"),
        ("head", "VLLM::EngineCore", "engine-dead"),
        ("head", "", "engine-dead"),
    ],
)
def test_what_is_killed_takes_all_down_and_one_cause_is_told(
    split: Pair, where: str, title: str, told_class: str
) -> None:
    agent = split.both[NAMES.index(where)]
    echo = split.head if agent is split.other else split.other
    since = [len(one.events()) for one in (agent, echo)]

    def killed() -> None:
        if title:
            kill(agent.box, title)
        else:
            agent.box.run(["systemctl", "kill", "-s", "KILL", "vllm"])

    before = split.after(killed)
    assert all(old != new for old, new in zip(before, split.pids(), strict=True))
    assert len(told(agent, since[0], "failure")) == 1
    assert told(echo, since[1], "failure") == [], "what another rank died of is no failure here"
    assert f"as {where} says: {told_class}" in told(echo, since[1], "generation")[-1]


def test_an_agent_that_is_killed_or_slow_costs_nothing_and_is_an_alert(
    split: Pair, prometheus: Prometheus
) -> None:
    """That alert is pending for five minutes before it fires: tests/benchmarks/two_hosts."""
    before = split.pids()
    for agent in split.both:
        agent.box.run(["systemctl", "kill", "-s", "KILL", "llmagent"])
    split.serves()
    process = str(split.other.box.wait_for(lambda: split.other.pid("llmagent"), 20, "the agent"))
    split.other.box.run(["kill", "-STOP", process])
    until(split.head, lambda shown: not shown["cluster"]["peers"][0]["answers"], "it is missed")
    prometheus.until("LlmagentGroupHostAway", split.head.box.cable.address, "pending")
    assert split.completes()
    split.other.box.run(["kill", "-CONT", process])
    split.serves()
    assert split.pids() == before
    prometheus.until("LlmagentGroupHostAway", split.head.box.cable.address, "")


@pytest.mark.parametrize("cut", ["both directions", "one direction"])
def test_a_cut_cable_ends_with_both_in_one_generation(split: Pair, cut: str) -> None:
    cable = split.other.box.cable
    starts = len(scripted.starts(split.head.box))
    split.other.box.run(["systemd-run", "--unit=listens", "python3", "-c", LISTENS])
    split.other.box.wait_for(lambda: "7777" in split.other.box.run(["ss", "-tln"]).stdout, 20, "it")

    def happens() -> None:
        connected = ["rm", "/run/connected"]
        split.head.box.wait_for(
            lambda: split.head.box.run(connected, check=False).returncode == 0, 20, "a connection"
        )
        if cut == "both directions":
            cable.cut()
        else:
            cable.lose([split.head.box.cable])
        until(split.head, lambda shown: shown["phase"] != "serving", "a hung request")
        split.head.box.wait_for(lambda: split.head.pid("vllm") == 0, 60, "the end of the run")
        assert len(scripted.starts(split.head.box)) == starts, "none beside a host that is away"
        assert sends.result().stdout.split() == ["False", "True", "False"]
        cable.mend()

    with ThreadPoolExecutor() as beside:
        sends = beside.submit(split.head.box.run, ["python3", "-c", SENDS, cable.address])
        split.after(happens)
    split.other.box.run(["systemctl", "stop", "listens"])
    assert len(scripted.starts(split.head.box)) == starts + 1


@pytest.mark.parametrize("how", ["power lost", "clean reboot"])
def test_a_host_that_goes_down_is_waited_for(split: Pair, how: str) -> None:
    def happens() -> None:
        box = split.other.box
        if how == "power lost":
            box.kill9()
            split.completes()
            box.boot()
        else:
            box.reboot()

    split.after(happens)


def test_hosts_with_different_vllm_serve_on_do_not_start_and_say_why(split: Pair) -> None:
    box = split.other.box
    box.run(["cp", "-r", "/opt/scripted-engine", "/opt/another"])
    site = "/opt/another/venv/lib/python3.11/site-packages"
    box.run(["mv", f"{site}/vllm-0.32.0.dist-info", f"{site}/vllm-0.31.0.dist-info"])
    box.run(
        ["sed", "-i", "s/^Version: .*/Version: 0.31.0/", f"{site}/vllm-0.31.0.dist-info/METADATA"]
    )
    before = split.pids()
    split.configure("split", python="/opt/another/venv/bin/python")
    for agent in split.both:
        until(agent, lambda shown: "0.31.0" in json.dumps(shown), "the reason")
    assert "waits for head to be the same: vLLM is 0.31.0" in told(split.other, 0, "reload")[-1]
    assert split.completes()
    assert split.pids() == before
    kill(split.other.box, "VLLM::Worker_TP1")
    for agent in split.both:
        agent.box.wait_for(partial(is_down, agent), BACK_SECONDS, "the end of its rank")
        until(agent, lambda shown: "to be the same" in json.dumps(shown), "what it waits for")
    assert "0.31.0" in split.head.box.run(["llmagent", "status"], check=False).stdout
    split.configure("split")
    split.serves()


def test_a_group_that_starts_again_and_again_is_an_alert_on_both_hosts(
    split: Pair, prometheus: Prometheus
) -> None:
    """What befell it in the stories before is enough; alone, this one lets it happen."""
    alert = "LlmagentGroupStartsAgain"
    for _ in range(5):
        if all(prometheus.state(alert, a.box.cable.address) == "firing" for a in split.both):
            break
        split.after(lambda: kill(split.other.box, "VLLM::Worker_TP1"))
    for agent in split.both:
        prometheus.until(alert, agent.box.cable.address, "firing")


def test_a_replica_that_dies_behind_a_green_health_is_seen_by_its_own_agent(pair: Pair) -> None:
    for agent in pair.both:
        agent.begin_anew()
    pair.configure("replicas")
    pair.serves()
    pair.after(lambda: kill(pair.other.box, "VLLM::EngineCore_DP1"))
    pair.after(lambda: kill(pair.head.box, "VLLM::EngineCore"))


def test_hosts_that_each_take_requests_of_their_own_live_and_die_together_too(pair: Pair) -> None:
    for agent in pair.both:
        agent.begin_anew()
    pair.configure("hybrid")
    pair.serves()
    for agent in pair.both:
        shown = agent.status()
        assert not shown["cluster"]["headless"]
        assert shown["verification"], "each host that takes requests is verified"
    pair.after(lambda: kill(pair.other.box, "VLLM::EngineCore"))
    body = {"prompt": "hello", "max_tokens": 1}
    assert pair.other.box.http_post(8000, "/v1/completions", body, timeout=10).status == 200
