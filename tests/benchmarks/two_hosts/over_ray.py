# SPDX-License-Identifier: Apache-2.0
"""Two machines that meet by Ray: the units as the package writes them, and vLLM's own refusal.

vLLM's CPU platform does not support Ray, so that the model is never loaded. What is seen is Ray's
part: both hosts in one Ray, from units that the agents start together, and nothing left of it once
vLLM has said no.
"""

from __future__ import annotations

import time
from typing import Final

from tests.benchmarks.two_hosts.pair import LIMIT_SECONDS, NAMES, Pair, machines
from tests.rig import binds
from tests.rig.container import Container
from tests.rig.nspawn import wait

AT: Final = "/opt/vllm-ray"
LAY: Final = f"mkdir -p {AT} && mount -t overlay -o lowerdir=/opt/ray:/opt/vllm overlay {AT}"
UNITS: Final = ("vllm", "vllm-ray")


def meet() -> None:
    """Print when both hosts are in one Ray, what vLLM says, and what is left."""
    with machines("ray", binds.ray()) as pair:
        for box in pair.boxes:
            box.run(["sh", "-c", LAY])
        began = time.monotonic()
        pair.configure((f"{AT}/bin/python", f"{AT}/bin/python"))
        wait(lambda: nodes(pair) == len(NAMES), LIMIT_SECONDS, "both hosts in one Ray")
        print(
            f"ray: both hosts in one Ray {time.monotonic() - began:.0f} s after the configuration"
        )
        for name, box in zip(NAMES, pair.boxes, strict=True):
            print(f"  {name}: {active(box)}", flush=True)
        wait(lambda: is_held(pair), LIMIT_SECONDS, "vLLM's refusal")
        print(f"  vLLM has refused after {time.monotonic() - began:.0f} s", flush=True)
        wait(lambda: not any(map(active, pair.boxes)), LIMIT_SECONDS, "the end of all units")
        print(f"  nothing of Ray is left after {time.monotonic() - began:.0f} s")
        for name, agent in zip(NAMES, pair.agents, strict=True):
            for event in agent.events():
                if event["kind"] in ("generation", "failure", "held", "follow", "start"):
                    print(f"  {name}: {event['kind']}: {event['message'][:200]}", flush=True)


def nodes(pair: Pair) -> int:
    """Return how many hosts Ray's head knows, 0 while it does not answer."""
    head = pair.boxes[0]
    address = f"--address={head.cable.address}:6379"
    said = head.run([f"{AT}/bin/ray", "status", address], check=False, timeout=60).stdout
    return said.partition("Pending:")[0].count("1 node_")


def active(box: Container) -> list[str]:
    """Return the units that run."""
    return [unit for unit in UNITS if box.show(unit, "ActiveState")["ActiveState"] == "active"]


def is_held(pair: Pair) -> bool:
    """Tell whether the head knows that no other try would help."""
    return pair.agents[0].status().get("phase") == "held"
