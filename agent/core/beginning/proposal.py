# SPDX-License-Identifier: Apache-2.0
"""How a model would run on the cards of a host: over how many, and how long requests may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from agent.core.command.given import Given
from agent.core.command.picture import Picture
from agent.core.command.values import AUTO
from agent.core.gpu.reading import Gpu
from agent.core.measures import GIB
from agent.core.planner.asked.capability import capability_of
from agent.core.planner.asked.reading import Ground, request_of
from agent.core.planner.config_keys import NotAModelError
from agent.core.planner.model import model_of
from agent.core.planner.plan import make_plan
from agent.core.planner.question import Fit, Plan, PlanRequest
from agent.core.planner.terms.formats import UnknownQuantizationError
from agent.core.planner.versions import version_of
from agent.core.record import dataclass

SPLITS = (1, 2, 4, 8)
SHORTEST = 8192
"""Tokens that a request should at least have room for, where the model knows so many."""

_STEP = 1024


@dataclass(frozen=True, slots=True)
class OnDisk:
    """A model of this host: `name` is a hub id or a directory, `config` its config.json.

    `files_gib` are its weights, None where they are not known; `place` is where they lie.
    """

    name: str
    config: Mapping[str, Any]
    files_gib: float | None = None
    place: str = ""


@dataclass(frozen=True, slots=True)
class Proposal:
    """The way to run a model: `plan` is of one card, `max_model_len` None for the model's own."""

    model: OnDisk
    tensor_parallel_size: int
    max_model_len: int | None
    plan: Plan


@dataclass(frozen=True, slots=True)
class Unfit:
    """No way: `why` in a sentence; `is_known` False where that only cannot be reckoned."""

    why: str
    is_known: bool = False


def propose(model: OnDisk, cards: Sequence[Gpu], version: str | None) -> Proposal | Unfit:
    """Return the way over the fewest cards, or why there is none.

    `cards` are of one kind. The longest request that fits with every estimate off in the bad
    direction is proposed where the model's own length does not fit.
    """
    sizes = [card.memory.usable_bytes for card in cards if card.memory is not None]
    if not sizes:
        return Unfit("no card tells its memory")
    request = PlanRequest(
        gpu_memory_gib=min(sizes) / GIB,
        version=version_of(version),
        files_gib=model.files_gib,
        gpu_name=cards[0].name,
        memory_unified=cards[0].memory_unified,
    )
    ground = Ground(request, capability_of(cards[0].compute_capability))
    try:
        whole = model_of(model.config)
        plans = [
            make_plan(whole, request_of(_over(split), whole, ground))
            for split in SPLITS
            if split <= len(cards)
        ]
    except (NotAModelError, UnknownQuantizationError) as error:
        return Unfit(str(error))
    why = plans[-1].refusal or plans[-1].reason
    for plan in plans:
        length = _length(plan)
        if plan.refusal or plan.verdict is Fit.DOES_NOT_FIT or length is None:
            continue
        if plan.encoder_only or length >= min(SHORTEST, plan.model_tokens) or plan is plans[-1]:
            split = plan.request.tensor_parallel_size
            asked = replace(plan.request, max_model_len=length)
            own = length >= plan.model_tokens
            return Proposal(model, split, None if own else length, make_plan(whole, asked))
    return Unfit(why, is_known=True)


def _over(cards: int) -> Picture:
    given = {"tensor_parallel_size": cards, "max_model_len": AUTO}
    return Picture(options={name: Given(name, value, name) for name, value in given.items()})


def _length(plan: Plan) -> int | None:
    """Return the length that fits even where the estimates are off, None where none does."""
    if plan.encoder_only or not plan.known:
        return plan.model_tokens
    if plan.low_gib <= 0:
        return None
    longest = plan.kv.longest(plan.low_gib * GIB, plan.model_tokens)
    length = longest if longest >= plan.model_tokens else longest // _STEP * _STEP
    return length if length >= min(_STEP, plan.model_tokens) else None
