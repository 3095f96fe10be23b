# SPDX-License-Identifier: Apache-2.0
"""The cards: what they are, what they can compute, who else is on them, how much they may draw."""

from __future__ import annotations

import re

from agent.core.doctor.finding import Finding, fail, ok, skipped, unknown, warning
from agent.core.engine.names import weight_family
from agent.core.gpu.reading import Gpus
from agent.core.measures import GIB
from agent.core.planner.asked.capability import capability_of
from agent.core.settings.gpus import Power
from agent.core.settings.service import Settings

SOLD_GIB = {
    "RTX 3090": 24,
    "RTX 4080": 16,
    "RTX 4090": 24,
    "RTX 5080": 16,
    "RTX 5090": 32,
    "RTX 4000 Ada": 20,
    "RTX 6000 Ada": 48,
    "RTX A6000": 48,
    "L4": 24,
    "L40S": 48,
    "A10": 24,
    "A100": 0,
    "H100": 80,
    "H200": 141,
}
"""Memory that a card is sold with, in GB; 0 where several sizes are sold."""

NEEDS = {
    "fp8": ((8, 9), "FP8 arithmetic; older cards only save memory, by the Marlin kernel"),
    "awq": ((7, 5), "AWQ kernels"),
    "gptq": ((6, 0), "GPTQ kernels"),
    "bitsandbytes": ((7, 0), "bitsandbytes"),
    "modelopt_fp4": ((10, 0), "FP4 arithmetic; older cards only save memory"),
    "mxfp4": ((8, 0), "MXFP4 kernels"),
}
"""Compute capability that a weight format asks for (vLLM 0.9..0.32 get_min_capability)."""


def judge_identity(gpus: Gpus | None) -> Finding:
    """Tell whether a card has the memory that its name promises."""
    check = "card-is-what-it-says"
    if gpus is None or not gpus.gpus:
        return skipped(check, "no card")
    for gpu in gpus.gpus:
        sold = _sold(gpu.name)
        if not sold or gpu.memory is None or gpu.memory_unified:
            continue
        gib = gpu.memory.total_bytes / GIB
        # A card sold as 24 GB shows 22.0 (with ECC) to 24.0 GiB.
        if not 0.86 * sold <= gib <= 1.03 * sold:
            told = f"GPU {gpu.index} calls itself {gpu.name} and has {gib:.1f} GiB, not {sold}"
            fix = "A modified or relabelled card: plan with what it has."
            return warning(check, told, fix)
    return ok(check, "memory is as the names promise")


def _sold(name: str) -> int:
    words = [
        known for known in SOLD_GIB if re.search(rf"\b{re.escape(known)}(?![\w ]*Ti|\w)", name)
    ]
    return SOLD_GIB[max(words, key=len)] if words else 0


def judge_capability(settings: Settings, quantization: str | None, gpus: Gpus | None) -> Finding:
    """Compare what the cards can compute with the weight format and the KV-cache dtype."""
    check, service = "compute-capability", settings.name
    cards = [] if gpus is None else list(gpus.used_by(settings.gpus))
    known = [(gpu, capability_of(gpu.compute_capability)) for gpu in cards]
    if not any(capability for _, capability in known):
        return unknown(check, "no card tells its compute capability", service=service)
    family = weight_family(quantization or "")
    for gpu, capability in known:
        if capability is None:
            continue
        told = f"GPU {gpu.index} ({gpu.name}) has {capability[0]}.{capability[1]}"
        if family in NEEDS and capability < NEEDS[family][0]:
            least, what = NEEDS[family]
            words = f"{told}; {family} asks for {least[0]}.{least[1]} ({what})"
            if family in {"fp8", "modelopt_fp4"} and capability >= (8, 0):
                return warning(check, words, "Choose AWQ, or accept the slower kernel.", service)
            return fail(check, words, "Use a checkpoint in a format that the card has.", service)
        if (settings.kv_cache_dtype or "auto").startswith("fp8") and capability < (8, 0):
            words = f"{told}; an FP8 KV cache asks for 8.0"
            return fail(check, words, 'Set kv_cache_dtype = "auto".', service)
    first = known[0][1]
    words = f"{first[0]}.{first[1]}" if first else "known"
    return ok(check, f"compute capability {words}", service)


def judge_strangers(settings: Settings, gpus: Gpus | None) -> Finding:
    """Name who else holds memory of the service's cards."""
    check, service = "strangers-on-the-card", settings.name
    cards = [] if gpus is None else gpus.used_by(settings.gpus)
    if not cards:
        return skipped(check, "no card", service)
    told = [
        f"{p.name or 'a process'} (pid {p.pid}, {(p.used_bytes or 0) / GIB:.1f} GiB on GPU "
        f"{gpu.index})"
        for gpu in cards
        for p in gpu.processes or ()
        if p.unit not in settings.units
    ]
    if not told:
        return ok(check, "none", service)
    fix = "End it, or lower gpu_memory_utilization by its share of the card."
    return warning(check, ", ".join(told[:4]), fix, service)


def judge_power(asked: Power, gpus: Gpus | None) -> Finding:
    """Compare the power caps of agent.toml with the range of every card."""
    check = "power-limit"
    if not asked.anything:
        return skipped(check, "no [power] limit_watts")
    told = []
    for gpu in gpus.gpus if gpus is not None else ():
        watts = asked.limits_of(gpu.uuid, gpu.index, gpu.name).limit_watts
        limits = gpu.power_limits
        if watts is None:
            continue
        if limits.min_watts is None or limits.max_watts is None:
            told.append(f"GPU {gpu.index} has no power limit")
        elif not limits.min_watts <= watts <= limits.max_watts:
            span = f"{limits.min_watts:g} to {limits.max_watts:g} W"
            told.append(f"GPU {gpu.index} takes {span}, {watts:g} W are asked")
    if not told:
        return ok(check, "within the range of every card")
    fix = "Give such a card a limit of its own, or lock_clocks_mhz where it has none."
    return warning(check, "; ".join(told), fix)
