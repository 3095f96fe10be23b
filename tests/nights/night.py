# SPDX-License-Identifier: Apache-2.0
"""One night of twelve hours from a seed, lived through under llmagent or one of its rivals."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from agent.core.failures.classes import FailureClass
from agent.core.settings.recovery import Recovery
from agent.core.settings.service import ServicePolicy, Settings
from tests.nights.agent import LlmAgent
from tests.nights.clockwork import EVENING, Clockwork
from tests.nights.engine import LOCKED, NEVER_REACHED, Needs
from tests.nights.faults import NIGHT, NOT_NOTICED, SHAPES, Fault, of_shape, plan, steering
from tests.nights.happenings import Happenings
from tests.nights.ledger import Ledger
from tests.nights.promises import Named
from tests.nights.rivals import AllKnowing, SystemdAlone
from tests.nights.world import World

CLASSES = tuple(FailureClass)
LOOK_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Night:
    """All that a night is made from; the same night is the same to the second whoever lives it."""

    seed: int
    faults: tuple[Fault, ...]
    shape: str = ""
    """How its services are run, of SHAPES; "" where the engine is one and makes tokens."""

    @staticmethod
    def of(seed: int) -> Night:
        """Draw the night; each class has its turn among any 196 seeds in a row."""
        rng = random.Random(seed)
        failure = CLASSES[seed % len(CLASSES)]
        return Night(seed, plan(rng, failure, tuple(_policies(seed))))

    @staticmethod
    def steered(seed: int) -> Night:
        """Draw a night in which an operator steers llmagent besides."""
        rng = random.Random(seed + 3_000_000_000)
        asked = steering(rng, tuple(_policies(seed)))
        both = sorted((*Night.of(seed).faults, *asked), key=lambda fault: fault.at)
        return Night(seed, tuple(both))

    @staticmethod
    def shaped(seed: int) -> Night:
        """Draw a night of services in another shape, in which what is silent is meant to be."""
        rng = random.Random(seed + 4_000_000_000)
        own = of_shape(rng, tuple(_policies(seed)))
        both = sorted((*Night.of(seed).faults[:2], *own), key=lambda fault: fault.at)
        return Night(seed, tuple(both), SHAPES[seed % len(SHAPES)])

    @staticmethod
    def unreached(seed: int) -> Night:
        """Draw a night of services that let no request of llmagent's through, or hear none."""
        drawn = (fault for fault in Night.of(seed).faults if fault.what.name not in NOT_NOTICED)
        return Night(seed, tuple(drawn), (NEVER_REACHED, LOCKED)[seed % 2])


def _policies(seed: int) -> dict[str, ServicePolicy]:
    rng = random.Random(seed + 1_000_000_000)
    recovery = Recovery(max_starts_per_hour=rng.choice([6, 12, 12, 20]))
    if rng.random() < 0.2:
        return {
            name: ServicePolicy(
                Settings(
                    name,
                    f"/srv/{name}",
                    port=port,
                    gpu_memory_utilization=0.44,
                    max_model_len=4096,
                    max_num_seqs=64,
                ),
                recovery=recovery,
            )
            for name, port in (("vllm", 8000), ("embed", 8001))
        }
    asked = Settings(
        "vllm",
        "/srv/m",
        gpu_memory_utilization=rng.choice([None, 0.9, 0.92, 0.95]),
        max_model_len=rng.choice([4096, 8192, 16384, 131072]),
        max_num_seqs=rng.choice([None, 32, 128]),
        max_num_batched_tokens=rng.choice([None, 8192]),
    )
    return {"vllm": ServicePolicy(asked, recovery=recovery)}


def world_of(night: Night) -> World:
    """Return the host as it is in the evening."""
    rng = random.Random(night.seed + 2_000_000_000)
    policies = _policies(night.seed)
    small = len(policies) > 1
    needs = {
        name: Needs(weights=6.0, activation=0.8)
        if small
        else Needs(weights=rng.choice([9.0, 15.0]))
        for name in policies
    }
    return World(
        Clockwork(EVENING),
        policies,
        needs,
        start_seconds=rng.choice([20.0, 60.0, 60.0, 150.0, 2400.0]),
        download_seconds=rng.choice([0.0, 0.0, 0.0, 600.0, 2400.0]),
        load=rng.choice([30.0, 30.0, 0.0]),
        shape=night.shape,
    )


def under_llmagent(night: Night, tell: Callable[[float, str], None] | None = None) -> Ledger:
    """Live through the night with llmagent; raises BrokenPromiseError."""
    world = world_of(night)
    world.tell = tell
    agent = LlmAgent(world)
    world.keeper = agent
    happenings = Happenings(world, agent, night.faults)

    def look() -> None:
        agent.watcher.look(happenings.last_at)
        world.clock.after(LOOK_SECONDS, look)

    agent.begin()
    world.clock.after(LOOK_SECONDS, look)
    return _lived(world, night)


def under_an_all_knowing(night: Night) -> Ledger:
    """Live through the night with a policy that knows the whole world."""
    world = world_of(night)
    return _lived_with(AllKnowing(world), world, night)


def under_systemd(night: Night, restart_seconds: float) -> Ledger:
    """Live through the night with `Restart=always` alone and this RestartSec=."""
    world = world_of(night)
    world.restart_seconds = restart_seconds
    world.start_limit = (5, 10.0)
    return _lived_with(SystemdAlone(world), world, night)


def _lived_with(keeper: AllKnowing | SystemdAlone, world: World, night: Night) -> Ledger:
    world.keeper = keeper
    Happenings(world, keeper, night.faults)
    keeper.begin()
    return _lived(world, night)


def _lived(world: World, night: Night) -> Ledger:
    with Named(night.seed, lambda: (world.clock.now - EVENING) / 3600):
        world.clock.run_until(EVENING + NIGHT)
    world.book()
    return world.ledger
