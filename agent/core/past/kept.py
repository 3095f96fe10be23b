# SPDX-License-Identifier: Apache-2.0
"""The last hours as bytes, so that a new process of the agent goes on where the last one ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from agent.core.past.columns import OF_A_GPU, OF_A_SERVICE
from agent.core.past.past import FORMAT, MOST, Past
from agent.core.past.track import RING_BYTES, STEP_SECONDS, STEPS, Column, Track

T = TypeVar("T")

MOST_BYTES = 4 << 20
"""More is not what `as_bytes` has written."""


def as_bytes(past: Past) -> bytes:
    """Return a line of JSON that says what follows, then each ring, of all services and GPUs."""
    rings = [track.as_bytes() for track in past.services.values()]
    rings += [track.as_bytes() for track in past.gpus.values()]
    head = _shape() | {
        "first": past.first,
        "step": past.step,
        "services": list(past.services),
        "gpus": past.indices,
    }
    return json.dumps(head).encode() + b"\n" + b"".join(rings)


def from_bytes(kept: bytes, at: float) -> Past:
    """Return what was kept before this agent time.

    What another release has kept, what is damaged, and what is of a time to come (the clock was
    wrong) is left: the past is empty then.
    """
    line, _, rings = kept.partition(b"\n")
    try:
        past = _read(json.loads(line), rings)
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return Past()
    return past if past.first <= past.step <= at // STEP_SECONDS + 1 else Past()


def _shape() -> dict[str, Any]:
    """Return what must be the same for the bytes to mean the same."""
    return {
        "format": FORMAT,
        "steps": STEPS,
        "of_a_service": [column.name for column in OF_A_SERVICE],
        "of_a_gpu": [column.name for column in OF_A_GPU],
    }


def _read(head: Mapping[str, Any], rings: bytes) -> Past:
    """Raises ValueError, TypeError or KeyError for what is not as it was written."""
    shape = _shape()
    services, gpus = list(head["services"]), dict(head["gpus"])
    sizes = len(services) * len(OF_A_SERVICE) + len(gpus) * len(OF_A_GPU)
    if {name: head[name] for name in shape} != shape or len(rings) != sizes * RING_BYTES:
        raise ValueError("it was written by another release, or only in part")
    if len(services) > MOST or not all(isinstance(name, str) for name in services):
        raise ValueError("these are no services")
    past = Past()
    past.first, past.step = int(head["first"]), int(head["step"])
    past.indices = {str(uuid): int(index) for uuid, index in gpus.items()}
    past.services, rings = _tracks(services, OF_A_SERVICE, past.step, rings)
    past.gpus, _ = _tracks(list(past.indices), OF_A_GPU, past.step, rings)
    return past


def _tracks(
    names: list[str], columns: tuple[Column[T], ...], step: int, rings: bytes
) -> tuple[dict[str, Track[T]], bytes]:
    """Return the tracks of these names, and what follows them."""
    size = len(columns) * RING_BYTES
    made = {name: Track(columns, step) for name in names}
    for number, track in enumerate(made.values()):
        track.fill(rings[number * size : (number + 1) * size])
    return made, rings[len(names) * size :]
