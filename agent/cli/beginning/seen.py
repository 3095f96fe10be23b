# SPDX-License-Identifier: Apache-2.0
"""What `llmagent init` has seen of the host, for a person and as JSON."""

from __future__ import annotations

from typing import Any

from agent.core.doctor.host import import_name
from agent.core.gpu.reading import Gpu
from agent.core.measures import GIB
from agent.tasks.beginning.look import HostLook

MOST = 5
"""So many models and engines are named; the rest is counted."""


def seen_lines(look: HostLook) -> list[str]:
    """Return a line a kind of thing."""
    kinds: dict[str, list[Gpu]] = {}
    for gpu in look.gpus.gpus:
        kinds.setdefault(gpu.name, []).append(gpu)
    gpus = ", ".join(f"{len(cards)} x {name} ({_gib(cards[0])})" for name, cards in kinds.items())
    driver = look.gpus.driver
    loaded = f"driver {driver.module_version}" if driver.module_version else "no driver is loaded"
    engines = [f"{one.version or 'unknown'} in {one.python}" for one in look.installs]
    engines += [f"{image.name} ({image.runtime})" for image in look.images]
    models = [f"{model.name} ({model.files_gib:.1f} GiB)" for model in look.models]
    lines = [
        f"GPUs:    {gpus or 'none'}, {loaded}{f': {driver.problem}' if driver.problem else ''}",
        f"vLLM:    {_few(engines)}",
        f"models:  {_few(models)}",
        f"disk:    {look.free_gib:.0f} GiB are free where models are fetched to",
    ]
    lines += [f"not looked at: {what}, as a file system does not answer" for what in look.late]
    lines += [
        f"running: {process.name} (pid {process.pid}) is not llmagent's; to have it kept: "
        f"`llmagent import {import_name(process)}`"
        for process in look.running[:1]
    ]
    return lines


def as_json(look: HostLook) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "gpus": [
            {
                "index": gpu.index,
                "name": gpu.name,
                "memory_gib": gpu.memory.total_bytes / GIB if gpu.memory else None,
                "compute_capability": gpu.compute_capability,
            }
            for gpu in look.gpus.gpus
        ],
        "driver": look.gpus.driver.module_version,
        "engines": [{"python": one.python, "version": one.version} for one in look.installs],
        "images": [{"image": one.name, "runtime": one.runtime} for one in look.images],
        "models": [
            {"name": one.name, "gib": one.files_gib, "place": one.place} for one in look.models
        ],
        "running": [{"pid": one.pid, "unit": one.unit} for one in look.running],
        "free_gib": look.free_gib,
    }


def _gib(gpu: Gpu) -> str:
    return f"{gpu.memory.total_bytes / GIB:.1f} GiB" if gpu.memory else "memory not known"


def _few(names: list[str]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return f"{', '.join(names[:MOST])}{more}" if names else "none"
