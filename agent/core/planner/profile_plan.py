# SPDX-License-Identifier: Apache-2.0
"""A profile planned, and its figures held against what the card can possibly do."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from agent.core.planner.model import Model
from agent.core.planner.plan import make_plan
from agent.core.planner.question import Plan, PlanRequest
from agent.core.planner.roof import decode_roof
from agent.core.planner.versions import Version
from agent.core.settings.profile import Profile, Quantity

_ASKED = {f.name for f in fields(PlanRequest)}


def plan_of(profile: Profile, model: Model, version: Version) -> Plan:
    """Return the plan of the profile's settings on its own card."""
    settings = profile.settings_for(version.release)
    asked: dict[str, Any] = {name: value for name, value in settings.items() if name in _ASKED}
    return make_plan(model, PlanRequest(profile.card.memory_gib, version, **asked))


def roof_of(profile: Profile, model: Model, version: Version) -> float:
    """Return the tokens a second at batch 1 that the profile's cards allow."""
    settings = profile.settings_for(version.release)
    gpus = int(settings.get("tensor_parallel_size", 1))
    bandwidth = profile.card.memory_bandwidth_bytes_per_second
    return decode_roof(model, settings.get("quantization"), bandwidth, gpus)


def contradictions(profile: Profile, model: Model, version: Version) -> tuple[str, ...]:
    """Return a sentence for each figure of the profile that physics does not allow."""
    bandwidth = profile.card.memory_bandwidth_bytes_per_second
    if not bandwidth:
        return ()
    roof = roof_of(profile, model, version)
    return tuple(
        f"{band.high:g} tokens/s at batch 1 ({band.origin.value}) cannot be: {bandwidth / 1e9:g} "
        f"GB/s read the weights {roof:.0f} times a second at most"
        for band in profile.bands
        if band.quantity is Quantity.DECODE and band.batch == 1 and band.high > roof * 1.02
    )
