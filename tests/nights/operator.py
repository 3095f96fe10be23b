# SPDX-License-Identifier: Apache-2.0
"""The operator of a night: edits, stops, starts and takes units over."""

from __future__ import annotations

from dataclasses import replace

from agent.core.settings.service import Settings
from tests.nights.faults import Fault
from tests.nights.world import World


class Operator:
    """Does by hand what a person would."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._stopped_theirs: set[str] = set()
        """Stopped while the unit was not llmagent's: nothing is asked of llmagent's by that."""

    def edit(self, service: str, **changed: object) -> None:
        policy = self._world.policies[service]
        settings = replace(policy.settings, **changed)  # type: ignore[arg-type]
        self._world.policies[service] = replace(policy, settings=settings)
        self._world.say(f"the operator edits {service}: {changed}")
        self._world.keeper.edited(service)

    def good_edit(self, fault: Fault) -> None:
        values = {
            "max_num_seqs": 16 + 16 * int(fault.size * 8),
            "max_model_len": 2048 * (2 + int(fault.size * 4)),
            "gpu_memory_utilization": 0.80 + round(fault.size * 0.1, 2),
        }
        if len(self._world.policies) == 1:
            self.edit(fault.service, **{fault.how: values[fault.how]})

    def on_disk(self, fault: Fault) -> Settings:
        return self._world.disk.get(fault.service, self._world.policies[fault.service].settings)

    def stops(self, fault: Fault) -> bool:
        """Stop what runs; a stop of what does not would be seen by nobody."""
        world = self._world
        if fault.service in world.runs and world.up:
            world.unwanted.add(fault.service)
            if world.unit(fault.service).foreign:
                self._stopped_theirs.add(fault.service)
            world.book()
            world.say(f"the operator stops {fault.service}")
            world.stop(fault.service, kill=False)
            return True
        return False

    def starts(self, fault: Fault) -> None:
        world = self._world
        world.unwanted.discard(fault.service)
        self._stopped_theirs.discard(fault.service)
        if fault.service not in world.runs and world.up:
            world.say(f"the operator starts {fault.service}")
            world.start(fault.service, self.on_disk(fault))

    def takes_over(self, fault: Fault, path: str) -> None:
        world = self._world
        if not path and fault.service in self._stopped_theirs:
            self._stopped_theirs.remove(fault.service)
            world.unwanted.discard(fault.service)  # the name is given back to be used
        world.units[fault.service] = replace(world.unit(fault.service), foreign=path)
        run = world.runs.get(fault.service)
        if run is not None:
            run.unit = replace(run.unit, foreign=path)
        world.keeper.unit_changed(fault.service)
