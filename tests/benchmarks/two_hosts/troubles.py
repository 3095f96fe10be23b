# SPDX-License-Identifier: Apache-2.0
"""What befalls two machines that serve together, and what is measured of each."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Final

from tests.benchmarks.table.figures import keep
from tests.benchmarks.two_hosts.pair import (
    CANARY_SECONDS,
    LIMIT_SECONDS,
    NEWER,
    PYTHON,
    TITLES,
    Before,
    Pair,
    processes,
    spin,
    stand_still,
)
from tests.given.cluster.prometheus import watching
from tests.rig.container import Container
from tests.rig.nspawn import wait

STILL_SECONDS: Final = 30.0
AGENT_STILL_SECONDS: Final = 45.0
SLOW_BYTES: Final = 20_000
TELLING: Final = (
    *("generation", "failure", "follow", "peer-away", "peer-back", "restart", "reload"),
)
HEAD: Final = 0
OTHER: Final = 1


def back(name: str, pair: Pair, happens: Callable[[Before], list[float] | None]) -> float:
    """Print what it costs until all serve again; returns the seconds.

    `happens` may tell when the old ranks ended.
    """
    before = Before(pair)
    ended = happens(before) or before.until_ended()
    mended = before.seconds
    pair.until_answered("the service to be back")
    took = before.seconds
    generations = pair.generation() - before.generation
    print(
        f"{name}: old ranks gone after {ended[HEAD]:.0f} s on the head and {ended[OTHER]:.0f} s on"
        f" the other, answers after {took:.0f} s ({took - mended:.0f} s after the last of it);"
        f" generations: {generations}"
    )
    for line in before.told(*TELLING):
        print(f"  {line}", flush=True)
    return took


def unmoved(name: str, pair: Pair, happens: Callable[[], object]) -> None:
    """Print whether the ranks are as before once it is over."""
    before = Before(pair)
    happens()
    over = before.seconds
    pair.until_answered("an answer")
    same = "as before" if before.are_ranks_as_before() else "NEW"
    waited = before.seconds - over
    print(f"{name}: ranks {same}, answers {waited:.0f} s after it was over ({over:.0f} s)")
    for line in before.told(*TELLING):
        print(f"  {line}", flush=True)


def killed(pair: Pair, where: int, title: str) -> float:
    """Kill the processes of that title, or the whole unit where there is none; as `back`."""
    box = pair.boxes[where]
    everything = ["systemctl", "kill", "--signal=KILL", "vllm"]

    def happens(_: Before) -> None:
        box.run(["pkill", "-KILL", "--full", f"^{title}$"] if title else everything)

    return back(f"kill -9 of {title or f'all of host {where}'}", pair, happens)


def deaths(pair: Pair) -> None:
    """Kill what computes on either host, then each host's whole service."""
    seconds = killed(pair, OTHER, TITLES[pair.kind][OTHER])
    if pair.kind == "replicas":
        keep("two-hosts", {"replicas_back_seconds": seconds})
    killed(pair, HEAD, TITLES[pair.kind][HEAD])
    for where in (HEAD, OTHER):
        killed(pair, where, "")
    if pair.kind == "split":
        killed(pair, HEAD, "VLLM::EngineCore")


def agents_killed(pair: Pair) -> None:
    """Kill each agent, then both; the ranks are to go on as they are."""
    for name, agents in (
        ("the head's agent", pair.agents[:1]),
        ("the other's agent", pair.agents[1:]),
        ("both agents", pair.agents),
    ):

        def kill(agents: tuple[object, ...] = agents) -> None:
            for agent in pair.agents:
                if agent in agents:
                    agent.box.run(["systemctl", "kill", "--signal=KILL", "llmagent"])

        unmoved(f"kill -9 of {name}", pair, kill)


def idle(pair: Pair) -> None:
    """Let the agents ask idle engines some questions, of which none may cost a rank."""
    unmoved("idle", pair, partial(time.sleep, 3 * CANARY_SECONDS))


def cut(pair: Pair, waits: Callable[[Container], None] | None = None) -> None:
    """Pull the other's cable until both hosts have given their GPUs back.

    `waits` is done on the head meanwhile.
    """
    head, other = pair.boxes

    def happens(before: Before) -> list[float]:
        other.cable.cut()
        if waits is not None:
            waits(head)
        ended = before.until_ended()
        other.cable.mend()
        return ended

    how = "" if waits is None else ", and the head spins"
    back(f"cable cut in both directions{how}", pair, happens)


def one_way(pair: Pair) -> None:
    """Lose what the other sends to the head, until both hosts have given their GPUs back."""
    head, other = (box.cable for box in pair.boxes)

    def happens(before: Before) -> list[float]:
        other.lose([head])
        ended = before.until_ended()
        other.mend()
        return ended

    back("cable loses what the other sends", pair, happens)


def reboot(pair: Pair) -> None:
    """Reboot either machine."""
    for where in (OTHER, HEAD):
        box = pair.boxes[where]
        back(f"reboot of host {where}", pair, lambda _, box=box: box.reboot())  # type: ignore[misc]


def power(pair: Pair) -> None:
    """Pull the plug of the other, and then once more while both start."""
    box = pair.boxes[OTHER]

    def twice(before: Before) -> list[float]:
        box.kill9()
        box.boot()
        ended = before.until_ended()
        wait(lambda: all(map(processes, pair.boxes)), LIMIT_SECONDS, "the start of both")
        time.sleep(5.0)
        lost = time.monotonic()
        again = processes(pair.boxes[HEAD])
        box.kill9()
        wait(lambda: not processes(pair.boxes[HEAD]) & again, LIMIT_SECONDS, "a start to be ended")
        print(f"  the head's start beside nobody was ended after {time.monotonic() - lost:.0f} s")
        box.boot()
        return ended

    back("power lost, and again during the start", pair, twice)


def slow(pair: Pair) -> None:
    """Slow the other's agent, its cable and its engine; none of it may cost a rank."""
    box = pair.boxes[OTHER]

    def agent_still() -> None:
        box.run(["systemctl", "kill", "--signal=STOP", "llmagent"])
        time.sleep(AGENT_STILL_SECONDS)
        box.run(["systemctl", "kill", "--signal=CONT", "llmagent"])

    unmoved(f"the other's agent stands still for {AGENT_STILL_SECONDS:.0f} s", pair, agent_still)

    def narrow() -> None:
        box.cable.slow(SLOW_BYTES)
        time.sleep(STILL_SECONDS)
        print(f"  over {SLOW_BYTES} B/s a request is answered: {pair.answered()}")
        box.cable.mend()

    unmoved("slow cable", pair, narrow)

    def still() -> None:
        title = TITLES[pair.kind][OTHER]
        thread = threading.Thread(target=stand_still, args=(box, STILL_SECONDS, title))
        thread.start()
        time.sleep(1.0)
        began = time.monotonic()
        answers = pair.answered()
        print(f"  a request then: {answers} after {time.monotonic() - began:.0f} s")
        thread.join()

    unmoved(f"the other's rank stands still for {STILL_SECONDS:.0f} s", pair, still)


def versions(pair: Pair) -> None:
    """Give the other host another release of vLLM.

    What serves goes on until a rank is restarted; then nobody starts until that is mended.
    """

    def is_told() -> bool:
        shown = [json.dumps(agent.status()) for agent in pair.agents]
        return all("0.33" in one and "0.32" in one for one in shown)

    def differ() -> None:
        pair.configure((PYTHON, NEWER))
        wait(is_told, LIMIT_SECONDS, "the difference to be told")

    unmoved("different vLLM, told on both", pair, differ)
    began = time.monotonic()
    pair.boxes[OTHER].run(["llmagent", "restart", "vllm"])
    wait(lambda: not any(map(processes, pair.boxes)), LIMIT_SECONDS, "the end of all ranks")
    print(f"  and restarted by hand: no rank left after {time.monotonic() - began:.0f} s")
    for agent in pair.agents:
        print(f"  {agent.status()['reason']}", flush=True)
    began = time.monotonic()
    pair.configure()
    pair.until_answered("the service to be back")
    print(f"  the same again: answers after {time.monotonic() - began:.0f} s", flush=True)


def alerts(pair: Pair) -> None:
    """Stop the other's agent until a real Prometheus with the package's rules says so."""
    box, agent = pair.boxes[HEAD], pair.boxes[OTHER]
    alert, instance = "LlmagentGroupHostAway", box.cable.address
    addresses = [one.cable.address for one in pair.boxes]
    with TemporaryDirectory() as at, watching(box, addresses, Path(at)) as prometheus:
        before = Before(pair)
        agent.run(["systemctl", "stop", "llmagent"])
        for state in ("pending", "firing"):
            prometheus.until(alert, instance, state, LIMIT_SECONDS)
            print(f"{alert} is {state} {before.seconds:.0f} s after the end of the other's agent")
        agent.run(["systemctl", "start", "llmagent"])
        began = before.seconds
        prometheus.until(alert, instance, "", LIMIT_SECONDS)
        print(f"  and well {before.seconds - began:.0f} s after its start")
        print(f"  ranks {'as before' if before.are_ranks_as_before() else 'NEW'}", flush=True)


TROUBLES: Final[Mapping[str, Callable[[Pair], None]]] = MappingProxyType(
    {
        "idle": idle,
        "agents": agents_killed,
        "deaths": deaths,
        "slow": slow,
        "versions": versions,
        "reboot": reboot,
        "power": power,
        "cut": cut,
        "spin": partial(cut, waits=spin),
        "one-way": one_way,
        "alerts": alerts,
    }
)
