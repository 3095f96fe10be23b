# SPDX-License-Identifier: Apache-2.0
"""Other units of this host that take the service's port, its cards or its settings of them."""

from __future__ import annotations

from agent.core.doctor.finding import Finding, fail, ok, skipped, warning
from agent.core.record import dataclass
from agent.core.settings.gpus import Power


@dataclass(frozen=True, slots=True)
class Rival:
    """An enabled unit of somebody else's that starts an engine; `ports` as its command says."""

    unit: str
    engine: str
    ports: frozenset[int] = frozenset()


def judge_rivals(rivals: tuple[Rival, ...], own_ports: frozenset[int]) -> Finding:
    """Name enabled units that start an engine at boot, beside ours."""
    check = "conflicting-units"
    if not rivals:
        return ok(check, "no other enabled unit starts an engine")
    told = ", ".join(f"{rival.unit} ({rival.engine})" for rival in rivals[:4])
    ours = [f"`llmagent import {r.unit}`" for r in rivals if r.engine == "vllm"][:3]
    fix = f"{', '.join(ours)} makes it llmagent's; or " if ours else ""
    fix += f"systemctl disable --now {' '.join(rival.unit for rival in rivals[:4])}"
    taken = sorted(port for rival in rivals for port in rival.ports & own_ports)
    if taken:
        words = f"at boot {told} may take port {taken[0]} first"
        return fail(check, words, f"{fix}, or choose another port.")
    fix = f"{fix}, or give each its share of the cards with gpu_memory_utilization."
    return warning(check, f"{told} starts at boot too, on the same cards", fix)


def judge_unit_file(service: str, unit: str, foreign: str) -> Finding:
    """Tell whether a unit file of somebody else's stands where ours is to be linked."""
    check = "unit-file"
    if not foreign:
        return ok(check, f"nothing stands in the way of {unit}", service)
    fix = (
        f"Take its options over (`llmagent import {unit} --name other` prints them), move "
        f"{foreign} away when it suits you, then systemctl daemon-reload."
    )
    return warning(check, f"{foreign} is not the agent's", fix, service)


def judge_dropped(running: tuple[str, ...]) -> Finding:
    """Name units of ours that still run though agent.toml has them no more."""
    check = "unwatched-units"
    if not running:
        return ok(check, "every unit of llmagent's that runs is in agent.toml")
    names = [unit.removesuffix(".service") for unit in running[:4]]
    tables = ", ".join(f"[service.{name}]" for name in names)
    fix = f"Put {tables} back into agent.toml, or systemctl disable --now {' '.join(names)}."
    told = f"{', '.join(running[:4])} runs and is not in agent.toml any more: nobody watches it"
    return warning(check, told, fix)


def judge_power_setters(units: tuple[str, ...], asked: Power) -> Finding:
    """Name who else sets the power caps or clocks that agent.toml sets."""
    check = "power-setters"
    if not asked.anything:
        return skipped(check, "no [power] of ours")
    if not units:
        return ok(check, "nobody else sets them")
    told = f"{', '.join(units[:3])} sets power or clocks of the cards too"
    fix = f"systemctl disable --now {' '.join(units[:3])}: the agent sets them and keeps them so."
    return warning(check, told, fix)
